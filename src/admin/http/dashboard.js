
  'use strict';
  // Asks for an overview once a second, and puts it into the page. Names come from a configuration,
  // addresses and reasons from strangers, so everything goes in as text; what is there is changed in
  // place, found by its key, so that hundreds of servers cost little.

  const SECOND = 1000;
  const MINUTE = 60 * SECOND;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;
  // Of the curves in the tiles.
  const SHOWN = 4 * MINUTE;
  // Over which rates are taken: short enough to follow, long enough to read.
  const RATE_TIME = 3 * SECOND;
  const PATIENCE = 5 * SECOND;
  // Servers of a backend beyond which its table scrolls by itself.
  const MANY = 24;
  const SHAPES = {
    up: 'M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1Z',
    suspect: 'M6 .8 11.6 11H.4Z',
    down: 'M2.6 1 6 4.4 9.4 1 11 2.6 7.6 6 11 9.4 9.4 11 6 7.6 2.6 11 1 9.4 4.4 6 1 2.6Z',
    drained: 'M2 1h3v10H2ZM7 1h3v10H7Z',
  };
  // Of sixteen, in the strip of a server.
  const HEIGHTS = { drained: 4, up: 7, suspect: 11, down: 16 };
  const PATHS = ['copy', 'splice', 'user-records', 'kernel-tls'];
  const DIRECTIONS = [['in', 'From clients'], ['out', 'To clients']];

  const byId = (id) => document.getElementById(id);

  // Words.

  const grouped = new Intl.NumberFormat('en');
  const count = (number) => grouped.format(Math.round(number));
  const scaled = (number, units) => {
    let value = number;
    let at = 0;
    while (value >= 999.5 && at < units.length - 1) {
      value /= 1000;
      at += 1;
    }
    const digits = at === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return [value.toFixed(digits), units[at]];
  };
  const bytes = (number) => scaled(number, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']).join(' ');
  const perSecond = (rate) => {
    if (rate === null) return '–';
    return rate > 0 && rate < 9.95 ? rate.toFixed(1) : count(rate);
  };
  const tunnels = (number) => `${count(number)} ${number === 1 ? 'tunnel' : 'tunnels'}`;
  const bytesPerSecond = (rate) => (rate === null ? '–' : `${bytes(rate)}/s`);
  const span = (ms) => {
    const time = Math.max(0, ms);
    const two = (big, bigUnit, small, smallUnit) => {
      const whole = Math.floor(time / big);
      const rest = Math.floor((time % big) / small);
      return rest > 0 ? `${whole} ${bigUnit} ${rest} ${smallUnit}` : `${whole} ${bigUnit}`;
    };
    if (time < MINUTE) return `${Math.floor(time / SECOND)} s`;
    if (time < HOUR) return `${Math.floor(time / MINUTE)} min`;
    if (time < DAY) return two(HOUR, 'h', MINUTE, 'min');
    return two(DAY, 'd', HOUR, 'h');
  };
  const pad = (number) => String(number).padStart(2, '0');
  const clock = (ms) => {
    const at = new Date(ms);
    return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  };
  const day = (ms) => {
    const at = new Date(ms);
    return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  };
  const percent = (part, whole) => {
    const share = (part / whole) * 100;
    if (share > 0 && share < 1) return '<1%';
    if (share > 99 && share < 100) return '>99%';
    return `${Math.round(share)}%`;
  };

  // Elements.

  const make = (name, className = '', text = '') => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text) say(node, text);
    return node;
  };
  const draw = (name, attributes) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const say = (node, text) => {
    if (node.said === text) return;
    node.said = text;
    node.textContent = text;
  };
  const mark = (node, name, value) => {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  };
  const dress = (node, className) => {
    if (node.className !== className) node.className = className;
  };
  // Makes the children of a node those of these items, in their order.
  const sync = (parent, items, keyOf, create, update) => {
    parent.known ??= new Map();
    const left = new Map(parent.known);
    const seen = new Map();
    let next = parent.firstChild;
    for (const item of items) {
      let key = keyOf(item);
      const times = (seen.get(key) ?? 0) + 1;
      seen.set(key, times);
      if (times > 1) key = `${key}\0${times}`;
      let node = parent.known.get(key);
      if (!node) {
        node = create(item);
        parent.known.set(key, node);
      }
      left.delete(key);
      if (node === next) next = next.nextSibling;
      else parent.insertBefore(node, next);
      update(node, item);
    }
    for (const [key, node] of left) {
      parent.known.delete(key);
      node.remove();
    }
    parent.vacant ??= null;
  };
  // Shows a line in a list that has nothing else.
  const tellEmpty = (parent, name, isEmpty, text) => {
    if (isEmpty && !parent.vacant) {
      parent.vacant = make(name, 'empty', text);
      parent.append(parent.vacant);
    } else if (!isEmpty && parent.vacant) {
      parent.vacant.remove();
      parent.vacant = null;
    }
  };
  const tellEmptyTable = (body, width, isEmpty, text) => {
    tellEmpty(body, 'tr', isEmpty, '');
    if (body.vacant && !body.vacant.firstChild) {
      const cell = body.vacant.appendChild(make('td', 'quiet wide', text));
      cell.colSpan = width;
      body.vacant.className = '';
    }
  };
  // A row of a table whose cells are found by name; on a phone each cell says what it is.
  const row = (head, cells) => {
    const node = make('tr');
    node.cells_ = {};
    for (const [name, label, className] of cells) {
      const cell = make(name === head ? 'th' : 'td', className ?? '');
      if (name === head) cell.scope = 'row';
      else if (label) cell.dataset.label = label;
      node.cells_[name] = cell;
      node.append(cell);
    }
    return node;
  };
  // A cell with a line, and a smaller one below it.
  const two = (cell, text, small) => {
    cell.line ??= cell.appendChild(make('span'));
    say(cell.line, text);
    if (small) {
      cell.small ??= cell.appendChild(make('small'));
      say(cell.small, small);
    } else if (cell.small) {
      cell.small.remove();
      cell.small = null;
    }
  };
  const standing = (node, state) => {
    if (node.state === state) return;
    node.state = state;
    const shape = draw('svg', { viewBox: '0 0 12 12', 'aria-hidden': 'true' });
    shape.append(draw('path', { d: SHAPES[state] ?? SHAPES.suspect }));
    node.className = `standing ${state in SHAPES ? state : ''}`;
    node.replaceChildren(shape, make('span', '', state));
  };

  // What was seen: one snapshot a second of the last minute for rates, points of some minutes for
  // curves.

  let past = [];
  let points = [];

  const keyOf = (...names) => JSON.stringify(names);
  const snapshot = (seen) => {
    const sums = new Map();
    const add = (key, traffic) => {
      const sum = sums.get(key) ?? { opened: 0, refused: 0, tunnels: 0, accepted: 0, in: 0, out: 0 };
      sum.opened += traffic.tunnels_opened + traffic.requests;
      sum.refused += traffic.refused;
      sum.tunnels += traffic.tunnels;
      sum.accepted += traffic.accepted;
      sum.in += traffic.bytes_in;
      sum.out += traffic.bytes_out;
      sums.set(key, sum);
    };
    for (const traffic of seen.traffic) {
      add(keyOf('listener', traffic.listener), traffic);
      if (traffic.backend !== null) add(keyOf('backend', traffic.backend), traffic);
      if (traffic.server !== null) add(keyOf('server', traffic.backend, traffic.server), traffic);
    }
    const moved = new Map(seen.moved.map((it) => [keyOf(it.direction, it.path), it.bytes]));
    return { at: seen.at_ms, totals: seen.totals, causes: seen.status.causes, sums, moved };
  };
  const latest = () => past[past.length - 1];
  // The snapshot that is at least so old, or the oldest there is.
  const before = (ms) => {
    const now = latest().at;
    return past.findLast((it) => now - it.at >= ms - 100) ?? past[0];
  };
  // How much a number grew in a second; none = not known yet.
  const rate = (number, ms = RATE_TIME) => {
    const [now, then] = [latest(), before(ms)];
    if (now.at <= then.at) return null;
    return Math.max(0, number(now) - number(then)) / ((now.at - then.at) / SECOND);
  };
  const sumOf = (shot, key, name) => shot.sums.get(key)?.[name] ?? 0;

  const remember = (seen) => {
    const shot = snapshot(seen);
    past.push(shot);
    past = past.filter((it) => shot.at - it.at <= MINUTE + 2 * SECOND);
    const fresh = (number) => rate(number, SECOND);
    points.push({
      at: shot.at,
      tunnels: seen.status.tunnels,
      accepted: fresh((it) => it.totals.accepted),
      in: fresh((it) => it.totals.bytes_in),
      out: fresh((it) => it.totals.bytes_out),
      requests: fresh((it) => it.totals.requests),
      refused: fresh((it) => it.totals.refused),
    });
    points = points.filter((it) => shot.at - it.at <= SHOWN);
  };

  // The tiles.

  const curve = (svg, name, words) => {
    const now = points[points.length - 1].at;
    const known = points.filter((it) => it[name] !== null);
    const highest = Math.max(0, ...known.map((it) => it[name]));
    const width = Math.min(SHOWN, Math.max(MINUTE, now - points[0].at));
    const x = (at) => (240 * (1 - (now - at) / width)).toFixed(1);
    const y = (value) => (39 - 36 * (value / (highest || 1))).toFixed(1);
    let line = '';
    let area = '';
    let run = [];
    const close = () => {
      if (run.length > 1) {
        const path = run.map((it) => `${x(it.at)} ${y(it[name])}`).join('L');
        line += `M${path}`;
        area += `M${x(run[0].at)} 40L${path}L${x(run[run.length - 1].at)} 40Z`;
      }
      run = [];
    };
    for (const point of known) {
      // Nothing was asked for while the page was hidden or nobody answered.
      if (run.length > 0 && point.at - run[run.length - 1].at > PATIENCE) close();
      run.push(point);
    }
    close();
    svg.area.setAttribute('d', area);
    svg.line.setAttribute('d', line);
    mark(svg, 'aria-label', `The last ${span(now - points[0].at)}; at most ${words(highest)}`);
  };

  const TILES = [
    { name: 'tunnels', title: 'Open tunnels', value: (seen) => [count(seen.status.tunnels), ''],
      words: count,
      note: (seen) => `${count(seen.totals.tunnels_opened)} since the start` },
    { name: 'accepted', title: 'New connections', value: () => [perSecond(rate((it) => it.totals.accepted)), '/s'],
      words: (it) => `${perSecond(it)}/s`,
      note: (seen) => `${count(seen.status.connections)} of ${count(seen.status.max_connections)} open` },
    { name: 'in', title: 'From clients', value: () => paced((it) => it.totals.bytes_in),
      words: bytesPerSecond, note: (seen) => `${bytes(seen.totals.bytes_in)} since the start` },
    { name: 'out', title: 'To clients', value: () => paced((it) => it.totals.bytes_out),
      words: bytesPerSecond, note: (seen) => `${bytes(seen.totals.bytes_out)} since the start` },
    { name: 'requests', title: 'Requests', value: () => [perSecond(rate((it) => it.totals.requests)), '/s'],
      words: (it) => `${perSecond(it)}/s`, note: (seen) => `${count(seen.totals.requests)} since the start` },
    { name: 'refused', title: 'Refused or failed', value: () => [perSecond(rate((it) => it.totals.refused)), '/s'],
      words: (it) => `${perSecond(it)}/s`, note: (seen) => `${count(seen.totals.refused)} since the start` },
  ];
  const paced = (number) => {
    const pace = rate(number);
    if (pace === null) return ['–', ''];
    const [value, unit] = scaled(pace, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
    return [value, `${unit}/s`];
  };

  const showTiles = (seen) => {
    const create = (tile) => {
      const node = make('div', 'card tile');
      node.id = `tile-${tile.name}`;
      const value = make('p', 'value');
      node.number = value.appendChild(make('span'));
      node.unit = value.appendChild(make('small'));
      node.note = make('p', 'note');
      node.curve = draw('svg', { viewBox: '0 0 240 40', preserveAspectRatio: 'none', class: 'spark', role: 'img' });
      node.curve.area = node.curve.appendChild(draw('path', { class: 'area' }));
      node.curve.line = node.curve.appendChild(draw('path', {}));
      node.append(make('h3', 'name', tile.title), value, node.note, node.curve);
      return node;
    };
    sync(byId('tiles'), TILES, (tile) => tile.name, create, (node, tile) => {
      const [number, unit] = tile.value(seen);
      say(node.number, number);
      say(node.unit, unit);
      say(node.note, tile.note(seen));
      curve(node.curve, tile.name, tile.words);
    });
  };

  // Backends and servers.

  const SERVER_CELLS = [
    ['name', '', 'name wide'], ['standing', '', 'text wide'], ['share', 'Share', 'number'],
    ['load', 'Active', 'number'], ['opened', 'New', 'number'], ['in', 'In', 'number'],
    ['out', 'Out', 'number'], ['checks', 'Checks', 'number'], ['connects', 'Connects', 'number'],
    ['strip', '', 'wide'], ['button', '', 'button number'],
  ];
  const SERVER_HEADS = ['Server', 'Standing', 'Share', 'Active', 'New', 'From clients', 'To clients',
    'Checks', 'Connects', 'Last hour', ''];

  const createBackend = () => {
    const node = make('article', 'backend card cards');
    const bar = make('div', 'bar');
    node.parts = { name: make('h3'), balance: make('span'), standings: make('span'), queue: make('span'), pace: make('span', 'end') };
    bar.append(...Object.values(node.parts));
    const table = make('table');
    const heads = make('tr');
    SERVER_HEADS.forEach((text, at) => {
      const head = make('th', SERVER_CELLS[at][2].includes('number') ? 'number' : '', text);
      head.scope = 'col';
      heads.append(head);
    });
    node.rows = make('tbody');
    const thead = make('thead');
    thead.append(heads);
    table.append(thead, node.rows);
    node.body = make('div', 'body');
    // What scrolls has to be reached without a mouse.
    node.body.tabIndex = 0;
    node.body.setAttribute('role', 'group');
    node.body.append(table);
    node.append(bar, node.body);
    return node;
  };
  const createServer = () => {
    const node = row('name', SERVER_CELLS);
    const cells = node.cells_;
    node.standing = cells.standing.appendChild(make('span'));
    node.since = cells.standing.appendChild(make('small'));
    node.load = cells.load.appendChild(make('span'));
    node.meter = cells.load.appendChild(make('span', 'meter'));
    node.level = node.meter.appendChild(make('i'));
    node.strip = cells.strip.appendChild(draw('svg', { viewBox: '0 0 360 16', preserveAspectRatio: 'none', class: 'strip', role: 'img' }));
    return node;
  };

  const standings = (servers) => {
    const counts = new Map();
    for (const server of servers) counts.set(server.standing, (counts.get(server.standing) ?? 0) + 1);
    const known = Object.keys(SHAPES).filter((state) => counts.has(state));
    return known.map((state) => [state, counts.get(state)]);
  };

  // Draws how a server stood during the last hour, as far as that is known; the worse the higher.
  const showStrip = (svg, server, turns, now) => {
    const shown = `${Math.floor(now / (10 * SECOND))} ${server.standing} ${turns.length}`;
    if (svg.shown === shown) return;
    svg.shown = shown;
    // Newest first; a state lasts until the one after it.
    const known = turns.length > 0 ? turns : [{ time_ms: server.since_ms, state: server.standing }];
    const lasted = new Map();
    const rects = [];
    let end = now;
    for (const turn of known) {
      const from = Math.max(turn.time_ms, now - HOUR);
      if (from >= end) continue;
      const height = HEIGHTS[turn.state] ?? HEIGHTS.suspect;
      const left = (from - (now - HOUR)) / (10 * SECOND);
      const width = Math.max(1, (end - from) / (10 * SECOND));
      rects.push(draw('rect', { x: left.toFixed(1), y: 16 - height, width: width.toFixed(1), height, class: turn.state }));
      lasted.set(turn.state, (lasted.get(turn.state) ?? 0) + end - from);
      end = from;
    }
    svg.replaceChildren(...rects);
    const words = [...lasted].map(([state, ms]) => `${state} for ${span(ms)}`);
    mark(svg, 'aria-label', `In the last hour: ${words.join(', ') || 'nothing is known'}`);
  };

  const showServer = (node, seen, backend, server, turns) => {
    const cells = node.cells_;
    two(cells.name, server.name, server.address === server.name ? '' : server.address);
    standing(node.standing, server.standing);
    const since = `for ${span(seen.at_ms - server.since_ms)}`;
    say(node.since, server.why ? `${since}: ${server.why}` : since);
    say(cells.share, `${server.share} of ${server.weight}`);
    const limit = server.max_connections;
    say(node.load, limit === null ? count(server.active) : `${count(server.active)} of ${count(limit)}`);
    node.meter.hidden = limit === null;
    if (limit !== null) {
      const width = `${Math.min(100, (server.active / limit) * 100).toFixed(1)}%`;
      if (node.level.style.width !== width) node.level.style.width = width;
      dress(node.meter, server.active >= limit ? 'meter full' : 'meter');
    }
    const key = keyOf('server', backend.name, server.name);
    say(cells.opened, `${perSecond(rate((it) => sumOf(it, key, 'opened')))}/s`);
    say(cells.in, bytesPerSecond(rate((it) => sumOf(it, key, 'in'))));
    say(cells.out, bytesPerSecond(rate((it) => sumOf(it, key, 'out'))));
    const failed = (number) => (number > 0 ? `${count(number)} failed` : '');
    const checked = server.checks_passed + server.checks_failed > 0;
    two(cells.checks, checked ? count(server.checks_passed) : '–', failed(server.checks_failed));
    two(cells.connects, count(server.connected), failed(server.refused));
    showStrip(node.strip, server, turns, seen.at_ms);
    showButton(node, seen.write, `${backend.name}/${server.name}`, server.standing === 'drained');
  };

  const showButton = (node, may, name, isDrained) => {
    if (!may) {
      node.button?.remove();
      node.button = null;
      return;
    }
    if (!node.button) {
      node.button = node.cells_.button.appendChild(make('button'));
      node.button.type = 'button';
    }
    const text = isDrained ? 'Take back' : 'Drain';
    say(node.button, text);
    mark(node.button, 'aria-label', `${text} ${name}`);
    node.button.onclick = () => ask(isDrained ? 'undrain' : 'drain', name);
  };

  const showBackends = (seen) => {
    const turns = new Map();
    for (const change of seen.changes) {
      const key = keyOf(change.backend, change.server);
      if (!turns.has(key)) turns.set(key, []);
      turns.get(key).push(change);
    }
    const all = seen.backends.flatMap((backend) => backend.servers);
    sync(byId('standings'), standings(all), ([state]) => state, () => make('span'), (node, [state, number]) => {
      node.shape ??= node.appendChild(make('span'));
      node.number ??= node.insertBefore(make('span'), node.shape);
      standing(node.shape, state);
      say(node.number, `${count(number)} `);
    });
    byId('filters').hidden = all.length < 8;
    const wanted = byId('wanted').value.trim().toLowerCase();
    const troubled = byId('troubled').checked;
    const hides = (backend, server) => (troubled && server.standing === 'up')
      || !`${backend.name}/${server.name} ${server.address}`.toLowerCase().includes(wanted);
    sync(byId('backends'), seen.backends, (backend) => backend.name, createBackend, (node, backend) => {
      const { parts } = node;
      say(parts.name, backend.name);
      mark(node.body, 'aria-label', `Servers of ${backend.name}`);
      say(parts.balance, `by ${backend.balance.replaceAll('_', ' ')}`);
      const states = standings(backend.servers).map(([state, number]) => `${count(number)} ${state}`);
      say(parts.standings, states.join(', ') || 'no server');
      say(parts.queue, `${count(backend.waiting)} of ${count(backend.max_queue)} waiting`);
      node.classList.toggle('many', backend.servers.length > MANY);
      dress(parts.queue, backend.waiting > 0 ? 'suspect' : '');
      const key = keyOf('backend', backend.name);
      const pace = (name) => bytesPerSecond(rate((it) => sumOf(it, key, name)));
      say(parts.pace, `${tunnels(sumOf(latest(), key, 'tunnels'))}, in ${pace('in')}, out ${pace('out')}`);
      sync(node.rows, backend.servers, (server) => server.name, createServer, (line, server) => {
        const hidden = hides(backend, server);
        if (line.hidden !== hidden) line.hidden = hidden;
        if (!hidden) showServer(line, seen, backend, server, turns.get(keyOf(backend.name, server.name)) ?? []);
      });
    });
  };

  // Health history, causes.

  const showChanges = (seen) => {
    const list = byId('changes');
    const create = (change) => {
      const node = make('li');
      const time = make('time', '', clock(change.time_ms));
      time.dateTime = new Date(change.time_ms).toISOString();
      node.time = time;
      const state = make('span');
      standing(state, change.state);
      const what = make('span', 'what', `${change.backend}/${change.server}`);
      if (change.why) what.append(make('small', '', change.why));
      node.append(time, state, what);
      return node;
    };
    tellEmpty(list, 'li', seen.changes.length === 0, 'No server has changed since it is known.');
    sync(list, seen.changes, (it) => keyOf(it.time_ms, it.backend, it.server, it.state), create, (node, change) => {
      const today = day(change.time_ms) === day(seen.at_ms);
      say(node.time, today ? clock(change.time_ms) : day(change.time_ms).slice(5));
    });
  };

  const showCauses = (seen) => {
    const then = before(MINUTE).causes;
    const causes = Object.entries(seen.status.causes).sort(([, one], [, other]) => other - one);
    const create = () => row('cause', [['cause', ''], ['fresh', '', 'number'], ['all', '', 'number']]);
    sync(byId('causes'), causes, ([cause]) => cause, create, (node, [cause, number]) => {
      say(node.cells_.cause, cause);
      say(node.cells_.fresh, count(Math.max(0, number - (then[cause] ?? 0))));
      say(node.cells_.all, count(number));
    });
    tellEmptyTable(byId('causes'), 3, causes.length === 0, 'Nothing has ended yet.');
  };

  // Shares.

  const showShare = (node, title, total, parts, words) => {
    if (!node.stack) {
      const of = make('div', 'of');
      node.heading = of.appendChild(make('b'));
      node.total = of.appendChild(make('span', 'quiet'));
      node.stack = make('div', 'stack');
      node.key = make('ul', 'key');
      node.append(of, node.stack, node.key);
    }
    say(node.heading, title);
    say(node.total, total);
    const all = parts.reduce((sum, part) => sum + part.value, 0);
    const there = parts.filter((part) => part.value > 0);
    sync(node.stack, there, (part) => part.name, (part) => make('i', part.colour), (bar, part) => {
      const share = String(part.value / all);
      if (bar.style.flexGrow !== share) bar.style.flexGrow = share;
    });
    const create = (part) => {
      const line = make('li');
      line.words = make('span');
      line.append(make('i', part.colour), line.words);
      return line;
    };
    sync(node.key, there, (part) => part.name, create, (line, part) => {
      say(line.words, `${part.name} ${percent(part.value, all)}, ${words(part.value)}`);
    });
  };

  const showMoved = (seen) => {
    const [now, then] = [latest(), before(10 * SECOND)];
    const time = Math.max(1, Math.round((now.at - then.at) / SECOND));
    const since = [[`the last ${time} s`, then], ['since the start', null]];
    const rows = DIRECTIONS.flatMap(([direction, title]) => since.map(([words, start]) => {
      const grown = (path) => {
        const key = keyOf(direction, path);
        return (now.moved.get(key) ?? 0) - (start ? start.moved.get(key) ?? 0 : 0);
      };
      const parts = PATHS.map((name, at) => ({ name, value: grown(name), colour: `c${at + 1}` }));
      const total = parts.reduce((sum, part) => sum + part.value, 0);
      return { key: `${direction} ${start !== null}`, title, total: `${bytes(total)}, ${words}`, parts };
    }));
    sync(byId('moved'), rows, (it) => it.key, () => make('div', 'share'),
      (node, it) => showShare(node, it.title, it.total, it.parts, bytes));
  };

  const colours = new Map();
  const showOffload = (seen) => {
    const place = byId('offload');
    const rows = DIRECTIONS.map(([direction, title]) => {
      const parts = seen.offload.filter((it) => it.direction === direction).map((it) => {
        if (!colours.has(it.state)) colours.set(it.state, `c${(colours.size % 5) + 1}`);
        return { name: it.state, value: it.tunnels, colour: colours.get(it.state) };
      });
      return { direction, title, parts, total: parts.reduce((sum, part) => sum + part.value, 0) };
    }).filter((it) => it.total > 0);
    tellEmpty(place, 'p', rows.length === 0, 'No open tunnel speaks TLS that ends here.');
    sync(place, rows, (it) => it.direction, () => make('div', 'share'),
      (node, it) => showShare(node, it.title, tunnels(it.total), it.parts, count));
  };

  // Busiest tunnels, listeners.

  const showBusiest = (seen) => {
    const body = byId('busiest');
    const cells = [
      ['client', '', 'name wide'], ['pace', 'Rate', 'number'], ['way', '', 'text wide'], ['in', 'In', 'number'],
      ['out', 'Out', 'number'], ['age', 'Age', 'number'], ['path', 'By', 'words'], ['tls', 'TLS', 'words'],
    ];
    sync(body, seen.busiest, (it) => it.tunnel.id, () => row('client', cells), (node, { tunnel, bytes_per_second: pace }) => {
      const there = node.cells_;
      two(there.client, tunnel.client, tunnel.peer === tunnel.client ? '' : `over ${tunnel.peer}`);
      say(there.pace, bytesPerSecond(pace));
      const to = [tunnel.backend, tunnel.server].filter((name) => name !== null).join('/');
      say(there.way, `${tunnel.listener} → ${to}`);
      say(there.in, bytes(tunnel.bytes_in));
      say(there.out, bytes(tunnel.bytes_out));
      two(there.age, span(seen.at_ms - tunnel.started_ms), tunnel.half_closed ? 'half closed' : '');
      say(there.path, tunnel.path_in === tunnel.path_out ? tunnel.path_in : `in ${tunnel.path_in}, out ${tunnel.path_out}`);
      const records = tunnel.offload_in === tunnel.offload_out ? tunnel.offload_in : `in ${tunnel.offload_in}, out ${tunnel.offload_out}`;
      two(there.tls, tunnel.tls ?? '–', tunnel.tls === null ? '' : records);
    });
    tellEmptyTable(body, cells.length, seen.busiest.length === 0, 'No tunnel moves anything.');
  };

  const showListeners = (seen) => {
    const cells = [
      ['name', '', 'name wide'], ['mode', ''], ['bind', '', 'text'], ['accepted', 'Connections', 'number'],
      ['tunnels', 'Tunnels', 'number'], ['refused', 'Refused', 'number'], ['in', 'In', 'number'], ['out', 'Out', 'number'],
    ];
    sync(byId('listeners'), seen.listeners, (it) => it.name, () => row('name', cells), (node, listener) => {
      const there = node.cells_;
      const key = keyOf('listener', listener.name);
      const number = (name) => (it) => sumOf(it, key, name);
      say(there.name, listener.name);
      say(there.mode, listener.tls ? `${listener.mode}, TLS` : listener.mode);
      say(there.bind, listener.bind.join(', '));
      two(there.accepted, `${perSecond(rate(number('accepted')))}/s`, `${count(number('accepted')(latest()))} in all`);
      say(there.tunnels, count(number('tunnels')(latest())));
      two(there.refused, `${perSecond(rate(number('refused')))}/s`, `${count(number('refused')(latest()))} in all`);
      two(there.in, bytesPerSecond(rate(number('in'))), bytes(number('in')(latest())));
      two(there.out, bytesPerSecond(rate(number('out'))), bytes(number('out')(latest())));
    });
  };

  // Draining a server and taking it back.

  // Kept here only, and gone with the page.
  let token = '';
  let wish = null;
  const dialog = byId('asking');

  const ask = (command, server) => {
    wish = { command, server };
    const drains = command === 'drain';
    say(byId('asking-title'), `${drains ? 'Drain' : 'Take back'} ${server}?`);
    say(byId('asking-text'), drains
      ? 'It gets nothing new. Its tunnels and requests go on.'
      : 'It gets new connections again, as far as its checks allow.');
    say(byId('asking-yes'), drains ? 'Drain' : 'Take back');
    say(byId('asking-wrong'), '');
    byId('asking-for').hidden = token !== '';
    dialog.showModal();
    (token === '' ? byId('token') : byId('asking-yes')).focus();
  };
  const order = async () => {
    const offered = token || byId('token').value.trim();
    const wrong = (text) => say(byId('asking-wrong'), text);
    wrong('');
    let answer;
    try {
      const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${offered}` };
      const body = JSON.stringify({ server: wish.server });
      const signal = AbortSignal.timeout(PATIENCE);
      answer = await fetch(`api/${wish.command}`, { method: 'POST', headers, body, signal });
    } catch (error) {
      wrong(`No answer: ${error.message}`);
      return;
    }
    const text = (await answer.text()).trim();
    if (answer.ok) {
      token = offered;
      byId('token').value = '';
      dialog.close();
      look();
    } else {
      if (answer.status === 401) {
        token = '';
        byId('asking-for').hidden = false;
        byId('token').select();
      }
      wrong(`${text} (${answer.status})`);
    }
  };
  dialog.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    order();
  });
  byId('asking-no').addEventListener('click', () => dialog.close());

  // The whole.

  let process = null;
  let restarted = null;
  let silentSince = null;

  const notice = (kind, text) => {
    const node = byId('notice');
    dress(node, kind);
    node.line ??= node.appendChild(make('span'));
    say(node.line, text);
    node.hidden = text === '';
  };
  const phase = (name) => {
    say(byId('phase'), name);
    dress(byId('phase'), `pill ${name === 'no answer' ? 'silent' : name}`);
  };

  const show = (seen) => {
    const { status } = seen;
    const id = keyOf(status.pid, status.started_ms);
    if (process !== null && process !== id) {
      restarted = status.started_ms;
      past = [];
    }
    process = id;
    silentSince = null;
    document.body.classList.remove('is-silent');
    remember(seen);
    const dropped = status.log_lines_dropped;
    const facts = [`${status.version}, process ${status.pid}, up for ${span(status.uptime_ms)}`];
    if (dropped > 0) facts.push(`${count(dropped)} log lines dropped`);
    say(byId('process'), facts.join(' · '));
    phase(status.phase);
    if (status.phase === 'draining') {
      notice('draining', `The process drains: it is going to end with its last tunnel; ${tunnels(status.tunnels)} left.`);
    } else if (restarted !== null) {
      notice('restarted', `The process was started anew at ${clock(restarted)}; everything is counted from then on.`);
    } else {
      notice('', '');
    }
    say(byId('access'), seen.write ? 'Servers can be drained here by whoever has the token.' : 'This page only reads.');
    redraw(seen);
  };
  let shown = null;
  const redraw = (seen) => {
    shown = seen;
    showTiles(seen);
    showBackends(seen);
    showChanges(seen);
    showCauses(seen);
    showMoved(seen);
    showOffload(seen);
    showBusiest(seen);
    showListeners(seen);
  };
  const silent = (why) => {
    silentSince ??= Date.now();
    document.body.classList.add('is-silent');
    phase('no answer');
    notice('silent', `The process has not answered since ${clock(silentSince)} (${why}). What is shown is from before.`);
  };

  let timer = null;
  let looking = false;
  // Looks once, and again in a second; not while nobody sees the page.
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden || looking) return;
    looking = true;
    const began = Date.now();
    let seen = null;
    try {
      const answer = await fetch('api/overview', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      seen = await answer.json();
    } catch (error) {
      silent(error.name === 'TimeoutError' ? `not within ${PATIENCE / SECOND} s` : error.message);
    }
    looking = false;
    timer = setTimeout(look, Math.max(100, SECOND - (Date.now() - began)));
    if (seen !== null) show(seen);
  };
  document.addEventListener('visibilitychange', look);
  for (const id of ['wanted', 'troubled']) {
    byId(id).addEventListener('input', () => { if (shown) showBackends(shown); });
  }
  look();
