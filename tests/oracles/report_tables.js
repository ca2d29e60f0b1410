// node report_tables.js PAGE: the tables that a report's script draws, one line a row, cells between
// bars, how runs failed, and the lines of an evaluation; run against as much of a document as the
// script asks for.
const page = require('fs').readFileSync(process.argv[2], 'utf8');
const make = name => ({ name, style: {}, children: [], textContent: '',
  append(...more) { this.children.push(...more); }, get firstChild() { return this.children[0]; },
  replaceChildren() { this.children = []; } });
const elements = {};
const text = e => typeof e === 'string' ? e : e.textContent + e.children.map(text).join('');
const rows = e => e.name === 'tr' ? [e] : e.children ? e.children.flatMap(rows) : [];
globalThis.document = { createElement: make, documentElement: {},
  getElementById: id => elements[id] = elements[id] || Object.assign(make(id), { value: 'step' }) };
globalThis.getComputedStyle = () => ({ getPropertyValue: () => '#000' });
globalThis.matchMedia = () => ({});
globalThis.Chart = class { destroy() {} };
(0, eval)(page.slice(page.lastIndexOf('<script>') + 8, page.lastIndexOf('</script>')));
for (const id of ['summary', 'configuration'])
  for (const row of rows(elements[id])) console.log(row.children.map(text).join('|'));
for (const failure of elements.failures ? elements.failures.children : []) console.log(text(failure));
for (const e of elements.evaluations.children)
  if (e.name === 'div' && e.textContent) console.log(e.textContent);
  else for (const row of rows(e)) console.log(row.children.map(text).join('|'));
