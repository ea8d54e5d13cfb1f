// A WebSocket client: prints what the application greets it with, has messages of several sizes
// echoed, and leaves. Usage: client.js URL HOST SOURCE [CA]
'use strict';
const fs = require('fs');
const WebSocket = require('ws');

const [url, host, source, ca] = process.argv.slice(2);
const options = { headers: { Host: host }, localAddress: source, servername: host };
if (ca) {
  options.ca = fs.readFileSync(ca);
}
const messages = [1, 125, 126, 65536, 300000].map((length) => Buffer.alloc(length, 'm'));
const socket = new WebSocket(url, options);
let greeted = false;
socket.on('message', (data) => {
  if (!greeted) {
    greeted = true;
    console.log(data.toString());
  } else if (!data.equals(messages.shift())) {
    console.error('another message came back');
    process.exit(1);
  }
  if (messages.length > 0) {
    socket.send(messages[0]);
  } else {
    socket.close(1000);
  }
});
socket.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
socket.on('close', (code) => process.exit(code === 1000 ? 0 : 1));
