// The application: echoes what it hears, and pushes a message every PUSH_MS (5000) milliseconds.
// PUSHES ends the pushing after that many; NAME stands at the end of every message, where several
// of it run. Prints the port it listens on.
'use strict';
const { WebSocketServer } = require('ws');

const pause = Number(process.env.PUSH_MS || 5000);
const limit = Number(process.env.PUSHES || Infinity);
const name = process.env.NAME ? ` (${process.env.NAME})` : '';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
  let number = 0;
  const pushing = setInterval(() => {
    if (number < limit) {
      number += 1;
      socket.send(`push ${number}${name}`);
    }
  }, pause);
  socket.on('message', (data) => socket.send(`received: ${data}${name}`));
  socket.on('close', () => clearInterval(pushing));
});
