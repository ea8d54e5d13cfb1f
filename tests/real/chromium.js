// Opens a page in headless Chromium, evaluates an expression in its console until it yields, and
// prints what it yields as JSON.
//
// Usage: chromium.js PROGRAM URL EXPRESSION [--trust CERTIFICATE] [--screenshot FILE]
//                    [--window WIDTHxHEIGHT] [--scheme light|dark] [--watch yes]
//
// The expression may be a promise. The certificate in the PEM file is believed as if an authority
// had signed it, and no other. With a window the picture shows the whole page at its width. Watched,
// it prints {"value", "errors", "requests"}: what the console said and refused, and every URL that
// was asked for. The browser is driven over two pipes and ends with them.
'use strict';
const childProcess = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');

const [program, url, expression, ...rest] = process.argv.slice(2);
const option = (name) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : null);

// The hash of the public key, as --ignore-certificate-errors-spki-list wants it.
const keyHash = (file) => {
  const certificate = new crypto.X509Certificate(fs.readFileSync(file));
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return crypto.createHash('sha256').update(key).digest('base64');
};

// Starts the browser; returns a function that sends it a command and waits for the answer.
const launch = (profile) => {
  const args = [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--no-proxy-server', '--disable-background-networking', '--disable-component-update',
    // What stands here for a server of the network is on this machine.
    '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
    '--window-size=900,600', '--remote-debugging-pipe', `--user-data-dir=${profile}`,
  ];
  const trusted = option('--trust');
  if (trusted) {
    args.push(`--ignore-certificate-errors-spki-list=${keyHash(trusted)}`);
  }
  const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'];
  const browser = childProcess.spawn(program, [...args, 'about:blank'], { stdio });
  // A browser that ends at once is told by its exit.
  browser.stdio[3].on('error', () => {});
  const waiting = new Map();
  const events = [];
  let number = 0;
  let received = '';
  browser.stdio[4].setEncoding('utf8').on('data', (text) => {
    const messages = (received + text).split('\0');
    received = messages.pop();
    for (const message of messages.map((one) => JSON.parse(one))) {
      if (message.method) {
        events.push(message);
        continue;
      }
      const { resolve, reject } = waiting.get(message.id) || {};
      waiting.delete(message.id);
      if (message.error) {
        reject(new Error(message.error.message));
      } else if (resolve) {
        resolve(message.result);
      }
    }
  });
  browser.on('exit', (code) => {
    for (const { reject } of waiting.values()) {
      reject(new Error(`the browser ended: ${code}`));
    }
  });
  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    number += 1;
    waiting.set(number, { resolve, reject });
    browser.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
  });
  const ended = new Promise((resolve) => { browser.on('exit', resolve); });
  return { send, ended, events };
};

// What a person would see in the tools for developers, out of what the browser reported.
const watched = (events) => {
  const errors = [];
  const requests = [];
  for (const { method, params } of events) {
    if (method === 'Runtime.exceptionThrown') {
      errors.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
    } else if (method === 'Runtime.consoleAPICalled') {
      errors.push(`console.${params.type}: ${params.args.map((it) => it.value).join(' ')}`);
    } else if (method === 'Log.entryAdded') {
      errors.push(`${params.entry.source}: ${params.entry.text}`);
    } else if (method === 'Network.requestWillBeSent') {
      requests.push(params.request.url);
    }
  }
  return { errors, requests };
};

// Sets the window and the colours a person prefers.
const dress = async (call) => {
  const [width, height] = (option('--window') || '').split('x').map(Number);
  if (height) {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await call('Emulation.setDeviceMetricsOverride', metrics);
  }
  if (option('--scheme')) {
    const features = [{ name: 'prefers-color-scheme', value: option('--scheme') }];
    await call('Emulation.setEmulatedMedia', { features });
  }
  if (option('--watch')) {
    for (const domain of ['Runtime', 'Log', 'Network']) {
      await call(`${domain}.enable`);
    }
  }
};

const look = async (send, events) => {
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const call = (method, params) => send(method, params, sessionId);
  await dress(call);
  const { errorText } = await call('Page.navigate', { url });
  if (errorText) {
    throw new Error(`${url}: ${errorText}`);
  }
  const loaded = 'new Promise((go) => document.readyState === "complete" ? go() : addEventListener("load", go))';
  const asked = {
    expression: `${loaded}.then(() => (${expression}))`,
    awaitPromise: true,
    returnByValue: true,
  };
  const { result, exceptionDetails } = await call('Runtime.evaluate', asked);
  if (exceptionDetails) {
    throw new Error(result.description || exceptionDetails.text);
  }
  if (option('--screenshot')) {
    const { data } = await call('Page.captureScreenshot', {
      format: 'png',
      captureBeyondViewport: Boolean(option('--window')),
    });
    fs.writeFileSync(option('--screenshot'), Buffer.from(data, 'base64'));
  }
  const { value } = result;
  console.log(JSON.stringify(option('--watch') ? { value, ...watched(events) } : value));
};

const main = async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'longsplice-chromium-'));
  const { send, ended, events } = launch(profile);
  try {
    await look(send, events);
  } finally {
    send('Browser.close').catch(() => {});
    await ended;
    // Its helpers may write for another moment.
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
