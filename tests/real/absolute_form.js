// Makes every HTTP request of a Node program send its target in absolute form, as a client does that
// takes its server for a forward proxy. Usage: node -r absolute_form.js PROGRAM
'use strict';
const http = require('http');

const implicitHeader = http.ClientRequest.prototype._implicitHeader;
http.ClientRequest.prototype._implicitHeader = function absolute() {
  if (this.path.startsWith('/')) {
    this.path = `http://${this.getHeader('host')}${this.path}`;
  }
  return implicitHeader.call(this);
};
