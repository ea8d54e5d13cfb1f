// The application: answers requests, and greets WebSockets, with what it is told about the client.
// Prints the port it listens on.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

// A header that came in several lines shows as a list.
const header = (request, name) => {
  const values = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    if (request.rawHeaders[at].toLowerCase() === name) {
      values.push(request.rawHeaders[at + 1]);
    }
  }
  return values.length > 1 ? values : values[0];
};
const facts = (request) => JSON.stringify({
  url: request.url,
  host: header(request, 'host'),
  realIp: header(request, 'x-real-ip'),
  forwardedFor: header(request, 'x-forwarded-for'),
  proto: header(request, 'x-forwarded-proto'),
  port: header(request, 'x-forwarded-port'),
});

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(facts(request));
});
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket, request) => {
  socket.send(facts(request));
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
