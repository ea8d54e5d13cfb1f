// A chat client: prints what the application knows about it, says hello, and leaves when the answer
// is there. Usage: client.js URL HOST
'use strict';
const WebSocket = require('ws');

const [url, host] = process.argv.slice(2);
const socket = new WebSocket(url, { headers: { Host: host } });
let facts = null;
socket.on('message', (data) => {
  if (facts === null) {
    facts = data.toString();
    socket.send('hello');
  } else if (data.toString() === 'you said: hello') {
    console.log(facts);
    socket.close(1000);
  } else {
    process.exit(1);
  }
});
socket.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
socket.on('close', (code) => process.exit(code === 1000 ? 0 : 1));
