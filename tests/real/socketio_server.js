// A socket.io application: acknowledges and pushes, with heartbeats every 200 ms. Prints the port it
// listens on.
'use strict';
const http = require('http');
const { Server } = require('socket.io');

const server = http.createServer();
const io = new Server(server, { pingInterval: 200, pingTimeout: 2000 });
io.on('connection', (socket) => {
  socket.on('ask', (data, answer) => answer({
    data,
    transport: socket.conn.transport.name,
    from: socket.handshake.headers['x-real-ip'],
  }));
  const pushing = setInterval(() => socket.emit('tick', Date.now()), 100);
  socket.on('disconnect', () => clearInterval(pushing));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
