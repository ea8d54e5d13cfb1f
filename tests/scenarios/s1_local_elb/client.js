// A client over wss, which has something echoed and then stays until it is ended. Prints one line of
// JSON: the address and port of its own socket, and what the application said of it, if it did.
// Usage: client.js app|stomp|xmpp URL ROOT-CERTIFICATE NAME
'use strict';
const fs = require('fs');
const WebSocket = require('ws');

const [kind, url, root, name] = process.argv.slice(2);
const subprotocols = { app: [], stomp: ['v12.stomp'], xmpp: ['xmpp'] };
const socket = new WebSocket(url, subprotocols[kind], {
  ca: fs.readFileSync(root), servername: name, headers: { Host: name },
});
const messages = [];
let wake = () => {};
socket.on('message', (data) => {
  messages.push(data.toString());
  wake();
});
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
socket.on('error', fail);
socket.on('close', (code) => fail(`closed with ${code}`));

// Waits for a message with `part` in it; what came before it is dropped.
async function hear(part) {
  for (;;) {
    while (messages.length > 0) {
      const message = messages.shift();
      if (message.includes(part)) {
        return message;
      }
    }
    await new Promise((resolve) => { wake = resolve; });
  }
}

const dialogues = {
  async app() {
    const facts = JSON.parse(await hear('{'));
    socket.send('hello');
    await hear('hello');
    return facts;
  },
  // https://stomp.github.io/stomp-specification-1.2.html
  async stomp() {
    const frame = (...lines) => socket.send(`${lines.join('\n')}\0`);
    frame('CONNECT', 'accept-version:1.2', 'host:/', 'login:guest', 'passcode:guest', '', '');
    await hear('CONNECTED');
    frame('SUBSCRIBE', 'id:1', 'destination:/topic/talk', 'receipt:now', '', '');
    await hear('receipt-id:now');
    frame('SEND', 'destination:/topic/talk', '', 'hello');
    await hear('\n\nhello');
  },
  // RFC 7395; RFC 6120 section 6 with SASL ANONYMOUS, section 7.
  async xmpp() {
    const open = '<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>';
    socket.send(open);
    await hear('<mechanism>ANONYMOUS</mechanism>');
    socket.send('<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="ANONYMOUS"/>');
    await hear('<success');
    socket.send(open);
    await hear('urn:ietf:params:xml:ns:xmpp-bind');
    const bind = '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/>';
    socket.send(`<iq xmlns="jabber:client" type="set" id="1">${bind}</iq>`);
    await hear('<jid>');
  },
};

socket.on('open', async () => {
  const facts = await dialogues[kind]().catch(fail);
  const { localAddress, localPort } = socket._socket;
  console.log(JSON.stringify({ address: localAddress, port: localPort, facts }));
});
