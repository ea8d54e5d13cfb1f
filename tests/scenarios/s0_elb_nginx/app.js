// The chat application: tells everyone what it knows about them. Prints the port it listens on.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

const facts = (request) => JSON.stringify({
  url: request.url,
  host: request.headers.host,
  realIp: request.headers['x-real-ip'],
  forwardedFor: request.headers['x-forwarded-for'],
  proto: request.headers['x-forwarded-proto'],
  version: request.httpVersion,
});

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(facts(request));
});
const chat = new WebSocketServer({ server, path: '/chat' });
chat.on('connection', (socket, request) => {
  socket.send(facts(request));
  socket.on('message', (data) => socket.send(`you said: ${data}`));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
