// The other application: socket.io, which acknowledges what it is asked, with heartbeats every 200
// ms; and plain HTTP beside it. NAME is told to everyone. Prints the port it listens on.
'use strict';
const http = require('http');
const { Server } = require('socket.io');

const name = process.env.NAME;
const server = http.createServer((request, response) => {
  const facts = JSON.stringify({
    app: 'maps',
    name,
    url: request.url,
    host: request.headers.host,
    forwardedFor: request.headers['x-forwarded-for'],
    connection: request.headers.connection,
  });
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', Buffer.byteLength(facts));
  response.end(facts);
});
const io = new Server(server, { pingInterval: 200, pingTimeout: 5000 });
io.on('connection', (socket) => {
  socket.on('ask', (question, answer) => answer({
    question,
    name,
    transport: socket.conn.transport.name,
    forwardedFor: socket.handshake.headers['x-forwarded-for'],
  }));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
