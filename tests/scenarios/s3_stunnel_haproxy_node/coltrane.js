// One of the two applications: tells everyone what it knows of them and of their connection. A POST
// to /sick and to /well changes what its health check is answered; a request for /hold is answered
// when a POST to /release comes. NAME is told, too. Prints the port it listens on.
'use strict';
const http = require('http');

let healthy = true;
let held = [];

const commands = {
  '/sick': () => { healthy = false; },
  '/well': () => { healthy = true; },
  '/release': () => {
    held.forEach((answer) => answer());
    held = [];
  },
};

const server = http.createServer((request, response) => {
  request.socket.requests = (request.socket.requests || 0) + 1;
  const facts = JSON.stringify({
    app: 'coltrane',
    name: process.env.NAME,
    url: request.url,
    host: request.headers.host,
    forwardedFor: request.headers['x-forwarded-for'],
    proto: request.headers['x-forwarded-proto'],
    connection: request.headers.connection,
    requests: request.socket.requests,
    held: held.length,
  });
  const answer = () => {
    response.statusCode = healthy ? 200 : 500;
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Content-Length', Buffer.byteLength(facts));
    response.end(facts);
  };
  if (request.method === 'POST' && commands[request.url]) {
    commands[request.url]();
    response.end();
  } else if (request.url === '/hold') {
    held.push(answer);
  } else {
    answer();
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
