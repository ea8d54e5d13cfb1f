// Streams events at /events, and thinks for ever about everything else. Prints the port, then a line when a
// request comes and when its connection closes before the answer is complete.
'use strict';
const http = require('http');

const server = http.createServer((request, response) => {
  console.log(`came ${request.url}`);
  response.on('close', () => console.log(`gone ${request.url}`));
  if (request.url === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: 1\n\n');
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
