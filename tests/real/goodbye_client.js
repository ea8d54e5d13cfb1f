// A WebSocket client on `ws` that exchanges a few messages, prints `open`, and then the code it is
// closed with. Usage: goodbye_client.js URL CA
'use strict';
const fs = require('fs');
const WebSocket = require('ws');

const socket = new WebSocket(process.argv[2], { ca: fs.readFileSync(process.argv[3]) });
let echoes = 0;
socket.on('open', () => {
  for (const size of [0, 5, 126, 70000]) {
    socket.send(Buffer.alloc(size));
  }
});
socket.on('message', () => {
  echoes += 1;
  if (echoes === 4) {
    console.log('open');
  }
});
socket.on('error', (error) => console.error(error));
socket.on('close', (code) => console.log(code));
