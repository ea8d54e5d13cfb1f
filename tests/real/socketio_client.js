// A socket.io client that must come to the websocket transport and stay there through several
// heartbeats. Usage: socketio_client.js URL websocket|default
'use strict';
const assert = require('assert');
const { io } = require('socket.io-client');

const HEARTBEATS = 5;

async function main() {
  const [url, transports] = process.argv.slice(2);
  const direct = transports === 'websocket';
  const options = { reconnection: false, timeout: 10000 };
  const socket = io(url, direct ? { ...options, transports: ['websocket'] } : options);
  let heartbeats = 0;
  let ticks = 0;
  socket.on('tick', () => { ticks += 1; });
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
    setTimeout(() => reject(new Error('no connection')), 15000).unref();
  });
  let lost = null;
  socket.on('disconnect', (reason) => { lost = reason; });
  const { engine } = socket.io;
  if (engine.transport.name !== 'websocket') {
    assert(!direct, 'it must begin on websocket');
    await new Promise((resolve, reject) => {
      engine.once('upgrade', resolve);
      engine.once('upgradeError', reject);
      setTimeout(() => reject(new Error('no upgrade')), 15000).unref();
    });
  }
  socket.io.engine.on('packet', (packet) => { if (packet.type === 'ping') heartbeats += 1; });
  const ask = (data) => new Promise((resolve) => { socket.emit('ask', data, resolve); });
  const large = 'x'.repeat(200000);
  while (heartbeats < HEARTBEATS) {
    const answer = await ask(large);
    assert.strictEqual(answer.data, large);
    assert.strictEqual(answer.transport, 'websocket');
    assert.strictEqual(engine.transport.name, 'websocket');
    assert.strictEqual(answer.from, '127.0.0.1');
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    assert.strictEqual(lost, null);
  }
  assert(ticks > 3, 'the server pushed');
  socket.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
