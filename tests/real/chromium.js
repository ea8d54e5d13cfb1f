// Opens a page in headless Chromium, evaluates an expression in its console until it yields, and
// prints what it yields as JSON.
//
// Usage: chromium.js PROGRAM URL EXPRESSION [--trust CERTIFICATE] [--screenshot FILE]
//
// The expression may be a promise. The certificate in the PEM file is believed as if an authority
// had signed it, and no other. The browser is driven over two pipes and ends with them.
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
  let number = 0;
  let received = '';
  browser.stdio[4].setEncoding('utf8').on('data', (text) => {
    const messages = (received + text).split('\0');
    received = messages.pop();
    for (const message of messages.map((one) => JSON.parse(one))) {
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
  return { send, ended };
};

const look = async (send) => {
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const { errorText } = await send('Page.navigate', { url }, sessionId);
  if (errorText) {
    throw new Error(`${url}: ${errorText}`);
  }
  const loaded = 'new Promise((go) => document.readyState === "complete" ? go() : addEventListener("load", go))';
  const asked = {
    expression: `${loaded}.then(() => (${expression}))`,
    awaitPromise: true,
    returnByValue: true,
  };
  const { result, exceptionDetails } = await send('Runtime.evaluate', asked, sessionId);
  if (exceptionDetails) {
    throw new Error(result.description || exceptionDetails.text);
  }
  if (option('--screenshot')) {
    const { data } = await send('Page.captureScreenshot', { format: 'png' }, sessionId);
    fs.writeFileSync(option('--screenshot'), Buffer.from(data, 'base64'));
  }
  console.log(JSON.stringify(result.value));
};

const main = async () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'longsplice-chromium-'));
  const { send, ended } = launch(profile);
  try {
    await look(send);
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
