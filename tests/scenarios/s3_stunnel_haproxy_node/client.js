// A socket.io client that must come to the websocket transport and stay on it through five
// heartbeats. Prints what the application answered last, with the transports there were, as JSON.
// Usage: client.js URL ROOT-CERTIFICATE websocket|default; every name is 127.0.0.1 here.
'use strict';
const fs = require('fs');
const https = require('https');
const { io } = require('socket.io-client');

const [url, root, transports] = process.argv.slice(2);
const HEARTBEATS = 5;

const lookup = (name, options, done) => {
  const found = { address: '127.0.0.1', family: 4 };
  return options.all ? done(null, [found]) : done(null, found.address, found.family);
};

const within = (event, emitter) => new Promise((resolve, reject) => {
  emitter.once(event, resolve);
  setTimeout(() => reject(new Error(`no ${event}`)), 15000).unref();
});

async function main() {
  const socket = io(url, {
    agent: new https.Agent({ ca: fs.readFileSync(root), lookup }),
    reconnection: false,
    ...(transports === 'websocket' ? { transports: ['websocket'] } : {}),
  });
  let lost = null;
  socket.on('disconnect', (reason) => { lost = reason; });
  socket.on('connect_error', (error) => { lost = error.message; });
  const { engine } = socket.io;
  const seen = [];
  engine.on('open', () => seen.push(engine.transport.name));
  engine.on('upgrade', (transport) => seen.push(transport.name));
  const upgraded = transports === 'websocket' || within('upgrade', engine);
  await within('connect', socket);
  await upgraded;
  let heartbeats = 0;
  engine.on('packet', (packet) => { if (packet.type === 'ping') heartbeats += 1; });
  const ask = (question) => new Promise((resolve) => { socket.emit('ask', question, resolve); });
  let answer;
  do {
    answer = await ask('where?');
    await within('packet', engine);
  } while (heartbeats < HEARTBEATS && lost === null);
  if (lost !== null || answer.transport !== 'websocket') {
    throw new Error(`${lost} ${JSON.stringify(answer)}`);
  }
  console.log(JSON.stringify({ ...answer, seen }));
  socket.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
