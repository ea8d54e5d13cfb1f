// A client that only listens: says nothing until PUSHES messages were pushed to it, then speaks
// once, and leaves when it is answered. Usage: client.js URL PUSHES [ROOT-CERTIFICATE NAME]
'use strict';
const fs = require('fs');
const WebSocket = require('ws');

const [url, pushes, root, servername] = process.argv.slice(2);
const socket = new WebSocket(url, root ? { ca: fs.readFileSync(root), servername } : {});
let heard = 0;
socket.on('message', (data) => {
  const text = data.toString();
  if (text === 'received: hello') {
    socket.close(1000);
    return;
  }
  heard += 1;
  if (text !== `push ${heard}`) {
    console.error(`${text} instead of push ${heard}`);
    process.exit(1);
  }
  if (heard === Number(pushes)) {
    socket.send('hello');
  }
});
socket.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
socket.on('close', (code) => {
  console.log(heard);
  process.exit(code === 1000 ? 0 : 1);
});
