// A WebSocket application on `ws`: echoes messages, tells its clients what their upgrade request
// said, and answers plain requests with the same. Prints the port it listens on.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => {
  const body = JSON.stringify({ url: request.url, headers: request.headers });
  response.writeHead(200, { 'Content-Type': 'application/json' });
  response.end(body);
});
const sockets = new WebSocketServer({ server, perMessageDeflate: true, maxPayload: 64 << 20 });
sockets.on('connection', (socket, request) => {
  socket.on('message', (data, isBinary) => {
    if (!isBinary && data.toString() === 'headers?') {
      socket.send(JSON.stringify(request.headers));
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
