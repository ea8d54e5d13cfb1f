// What a person types into the console of a browser; URL is put in by the test. Yields what was
// heard, once both an echo and a push came, and how the socket closed.
new Promise((done, fail) => {
  const heard = [];
  const socket = new WebSocket('URL');
  socket.onopen = () => socket.send('typed in the console');
  socket.onmessage = (event) => {
    heard.push(event.data);
    const echoed = heard.includes('received: typed in the console');
    if (echoed && heard.some((text) => text.startsWith('push '))) {
      socket.close(1000);
    }
  };
  socket.onerror = () => fail(new Error('no WebSocket'));
  socket.onclose = (event) => done({ heard, code: event.code, clean: event.wasClean });
})
