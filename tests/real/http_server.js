// Answers every request with what it understood of it, and says the same on standard output.
'use strict';
const http = require('http');

function tell(request, response) {
  let len = 0;
  request.on('data', (chunk) => { len += chunk.length; });
  request.on('end', () => {
    const understood = `${request.method} ${request.url} ${len}`;
    console.log(understood);
    response.end(`${understood}\n`);
  });
}

const server = http.createServer(tell);
// Expectations nobody knows are left to the application.
server.on('checkExpectation', tell);
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
