// Authenticates connections as IIS does with NTLM: three messages on one connection, after which every request
// on it is the user's. Prints the port, then a line for each request: the step, and the number of its connection.
// The proof in the third message is not checked: what counts is the connection on which it comes.
'use strict';
const http = require('http');

let connections = 0;

// MS-NLMP section 2.2.1.2, without target information: Unicode, OEM, NTLM.
function challenge() {
  const message = Buffer.alloc(48);
  message.write('NTLMSSP\0', 0, 'latin1');
  message.writeUInt32LE(2, 8);
  message.writeUInt32LE(48, 16);
  message.writeUInt32LE(0x203, 20);
  message.write('nonce123', 24, 'latin1');
  return message.toString('base64');
}

function step(request) {
  const socket = request.socket;
  const [scheme, token] = (request.headers.authorization || '').split(' ');
  const type = scheme === 'NTLM' ? Buffer.from(token, 'base64').readUInt32LE(8) : 0;
  if (type === 1) {
    socket.state = 'challenged';
    return [401, `NTLM ${challenge()}`];
  }
  if (type === 3) {
    socket.state = socket.state === 'challenged' ? 'known' : 'lost';
  }
  return socket.state === 'known' ? [200] : [401, 'NTLM'];
}

function tell(request) {
  const [status, demand] = step(request);
  console.log(`${request.method} ${status} ${request.socket.number}`);
  return [status, demand ? { 'WWW-Authenticate': demand } : {}];
}

const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    const [status, fields] = tell(request);
    response.writeHead(status, fields).end(`${status} on ${request.socket.number}\n`);
  });
});
server.on('upgrade', (request, socket) => {
  const [status, fields] = tell(request);
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  if (status === 200) {
    const accept = require('crypto').createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
               `Sec-WebSocket-Accept: ${accept}\r\n\r\nhello`);
    return;
  }
  // Node has taken the connection from the server, and gives it back for the next request.
  socket.write(`HTTP/1.1 ${status} No\r\n${lines.join('')}Content-Length: 0\r\n\r\n`);
  server.emit('connection', socket);
});
server.on('connection', (socket) => { socket.number = socket.number || ++connections; });
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
