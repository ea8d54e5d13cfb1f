// A WebSocket client on `ws`: messages of every length class, pings, a clean close. Exits 0 when all
// of it came back right; prints the headers the application saw. Usage: ws_client.js URL
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const WebSocket = require('ws');

async function main() {
  const socket = new WebSocket(process.argv[2], { perMessageDeflate: true });
  const received = [];
  let wake = () => {};
  socket.on('message', (data, isBinary) => {
    received.push({ data, isBinary });
    wake();
  });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const next = async () => {
    while (received.length === 0) {
      await new Promise((resolve) => { wake = resolve; });
    }
    return received.shift();
  };

  for (const size of [0, 1, 125, 126, 65535, 65536, 3 << 20]) {
    const data = crypto.randomBytes(size);
    socket.send(data);
    const answer = await next();
    assert(answer.isBinary);
    assert(data.equals(answer.data), `${size} bytes`);
  }
  for (let number = 0; number < 500; number += 1) {
    socket.send(`message ${number}`);
  }
  for (let number = 0; number < 500; number += 1) {
    assert.strictEqual((await next()).data.toString(), `message ${number}`);
  }
  const pong = new Promise((resolve) => { socket.once('pong', resolve); });
  socket.ping('are you there');
  assert.strictEqual((await pong).toString(), 'are you there');
  socket.send('headers?');
  console.log((await next()).data.toString());
  const closed = new Promise((resolve) => { socket.once('close', resolve); });
  socket.close(1000, 'done');
  assert.strictEqual(await closed, 1000);
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
