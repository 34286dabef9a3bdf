"use strict";
const language = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each in WORDS) || "en";
const words = WORDS[language];
const $ = (id) => document.getElementById(id);
const SHOWN = 1000; // rules at a time
const AROUND = 12; // rows that are drawn above and below those that are seen
const SECONDS = 120;
const traffic = [];
let secret = sessionStorage.getItem("secret") || "";
let flows = [];
let page = "overview";
const allowed = new Set(); // hosts that were let in here
let isDown = false; // it was taken down here
let filterTold = "";
let filterAllowed = 0;

function say(line, bad) { $("state").textContent = line; $("state").classList.toggle("bad", Boolean(bad)); }
function make(tag, text, attributes) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  return made;
}
function amount(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}
async function ask(path, options) {
  const headers = secret ? { Authorization: `Bearer ${secret}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) { $("login").hidden = false; $("secret").focus(); throw new Error(words.secret); }
  const body = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(body.message || words.failed);
  return body;
}
function follow(path, heard) {
  const address = new URL(path, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (secret) address.searchParams.set("token", secret);
  const socket = new WebSocket(address);
  socket.onmessage = (event) => { say(words.connected); heard(JSON.parse(event.data)); };
  socket.onclose = () => { say(isDown ? words.isDown : words.away, !isDown); setTimeout(() => follow(path, heard), 3000); };
}

function drawTraffic() {
  const most = Math.max(1000, ...traffic.flatMap((each) => [each.up, each.down]));
  for (const way of ["up", "down"]) {
    const points = traffic.map((each, i) => {
      const x = 600 - (traffic.length - 1 - i) * (600 / SECONDS);
      return `${x.toFixed(1)},${(156 - 150 * each[way] / most).toFixed(1)}`;
    });
    $(`graph-${way}`).setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  }
  $("scale").textContent = `${amount(most)}/s`;
}
function heardTraffic(each) {
  traffic.push(each);
  if (traffic.length > SECONDS) traffic.shift();
  $("down").textContent = `${amount(each.down)}/s`;
  $("up").textContent = `${amount(each.up)}/s`;
  if (page === "overview") drawTraffic();
}

function heardFlows(all) {
  flows = all.connections.reverse();
  $("count").textContent = flows.length;
  $("memory").textContent = amount(all.memory);
  if (page === "flows") drawFlows();
}
function flowRow(flow) {
  const about = flow.metadata;
  const row = make("tr");
  const target = `${about.host || about.destinationIP}:${about.destinationPort}`;
  row.append(make("td", about.process || about.sourceIP));
  const why = make("button", `${target} ${about.network}`, { class: "plain", "aria-haspopup": "dialog", "data-key": `why ${flow.id}` });
  why.onclick = () => showWhy(flow, target);
  const to = make("td");
  to.append(why);
  row.append(to);
  row.append(make("td", [flow.rule, flow.rulePayload].filter(Boolean).join(" ")));
  row.append(make("td", [...flow.chains].reverse().join(" → ")));
  row.append(make("td", amount(flow.download), { class: "number" }));
  row.append(make("td", amount(flow.upload), { class: "number" }));
  const button = make("button", "×", { "aria-label": `${words.close}: ${target}`, "data-key": `close ${flow.id}` });
  button.onclick = () => act(async () => {
    await ask(`/connections/${flow.id}`, { method: "DELETE" });
    const beside = [row.nextElementSibling, row.previousElementSibling];
    const next = beside.map((each) => each?.querySelector("td:last-child button")).find(Boolean);
    flows = flows.filter((each) => each.id !== flow.id);
    row.remove();
    (next || $("find")).focus();
  });
  const cell = make("td");
  cell.append(button);
  row.append(cell);
  return row;
}
function showWhy(flow, target) {
  const about = flow.metadata;
  const facts = [
    [words.to, `${target} ${about.network}`], [words.address, about.destinationIP || words.byServer],
    [words.program, about.processPath || about.process || "–"], [words.from, `${about.sourceIP}:${about.sourcePort}`],
    [words.rule, [flow.rule, flow.rulePayload].filter(Boolean).join(" ")], [words.through, [...flow.chains].reverse().join(" → ")],
    [words.down, amount(flow.download)], [words.up, amount(flow.upload)], [words.since, new Date(flow.start).toLocaleString(language)],
  ];
  $("why-facts").replaceChildren(...facts.flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
  $("why").showModal();
}
function redraw(place, drawn) { // the keyboard stays where it is
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...drawn);
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}
function space(rows, height) { // what is not drawn has its place
  const row = make("tr", undefined, { "aria-hidden": "true" });
  row.style.height = `${rows * height}px`;
  return row;
}
function drawFlows() {
  if ($("flow-rows").matches(":active, :hover:has(:active)")) return; // nothing moves under a finger
  const sought = $("find").value.toLowerCase();
  const found = flows.filter((flow) => !sought || JSON.stringify([flow.metadata, flow.rule, flow.chains]).toLowerCase().includes(sought));
  const box = $("flow-box");
  const known = box.querySelector("[aria-rowindex]");
  const height = known?.getBoundingClientRect().height || 38;
  const first = Math.max(0, Math.min(Math.floor(box.scrollTop / height), found.length) - AROUND);
  const last = Math.min(found.length, Math.ceil((box.scrollTop + box.clientHeight) / height) + AROUND);
  const rows = found.slice(first, last).map(flowRow);
  rows.forEach((row, at) => row.setAttribute("aria-rowindex", first + at + 2));
  box.firstElementChild.setAttribute("aria-rowcount", found.length + 1);
  redraw($("flow-rows"), [space(first, height), ...rows, space(found.length - Math.max(first, last), height)]);
  if (!known && rows.length) drawFlows(); // now it is known how high a row is
}

async function act(what) {
  try { await what(); } catch (error) { say(error.message, true); }
}
function member(group, name, proxies) {
  const last = (proxies[name] || { history: [] }).history.at(-1);
  const button = make("button", name, { "aria-pressed": String(group.now === name), "data-key": `${group.name} ${name}` });
  button.append(last ? make("small", last.delay ? `${last.delay} ms` : words.dead, last.delay ? {} : { class: "bad" }) : make("small", " "));
  button.disabled = group.type !== "Selector";
  button.onclick = () => act(async () => {
    await ask(`/proxies/${encodeURIComponent(group.name)}`, { method: "PUT", body: JSON.stringify({ name }) });
    await drawServers();
  });
  const item = make("li");
  item.append(button);
  return item;
}
async function drawServers() {
  const { proxies } = await ask("/proxies");
  const groups = Object.values(proxies).filter((each) => each.all.length && each.name !== "GLOBAL");
  redraw($("groups"), groups.map((group) => {
    const box = make("div", undefined, { class: "group" });
    const title = make("h3", `${group.name} (${group.type})`);
    const button = make("button", words.test, { "aria-label": `${words.test}: ${group.name}`, "data-key": `test ${group.name}` });
    button.onclick = () => act(async () => {
      button.textContent = words.testing;
      try { await ask(`/group/${encodeURIComponent(group.name)}/delay?timeout=10000`); } finally { await drawServers(); }
    });
    title.append(button);
    const list = make("ul", undefined, { class: "members" });
    list.append(...group.all.map((name) => member(group, name, proxies)));
    box.append(title, list);
    return box;
  }));
  if (!groups.length) $("groups").textContent = words.none;
}
async function drawRules() {
  const { rules } = await ask("/rules");
  $("rule-rows").replaceChildren(...rules.slice(0, SHOWN).map((rule) => {
    const row = make("tr");
    row.append(make("td", rule.index + 1), make("td", rule.type), make("td", rule.payload), make("td", rule.proxy));
    return row;
  }));
  $("rule-more").textContent = rules.length > SHOWN ? `${rules.length - SHOWN} ${words.more}` : "";
}
async function lookUp() {
  const found = [];
  for (const type of ["A", "AAAA"]) {
    const { Status, Answer } = await ask(`/dns/query?name=${encodeURIComponent($("name").value)}&type=${type}`);
    if (Status) { found.push(words.noName); break; }
    found.push(...Answer.map((each) => each.data));
  }
  $("answer").textContent = found.join(", ") || words.noName;
}
async function drawTunnel() {
  const found = await ask("/tunnel");
  const facts = [[words.state, found.status], [words.profile, found.profile || "–"], [words.servers, found.servers.join(" → ") || "–"],
    [words.killSwitch, found.kill_switch ? words.on : words.off]];
  $("tunnel-facts").replaceChildren(...facts.flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
  $("tunnel-deeds").hidden = !found.may_change;
  if (!found.may_change) $("tunnel-state").textContent = found.is_up ? words.noSecret2 : words.notUp;
  redraw($("profiles"), found.profiles.map((name) => {
    const button = make("button", name, { "aria-pressed": String(found.profile === name), "data-key": `profile ${name}` });
    button.onclick = () => useProfile(name);
    const item = make("li");
    item.append(button);
    return item;
  }));
}
async function useProfile(name) {
  $("tunnel-state").textContent = words.working;
  try {
    const { notes } = await ask("/tunnel", { method: "PUT", body: JSON.stringify({ profile: name }) });
    $("tunnel-state").textContent = [words.used, ...notes].join(" ");
  } catch (error) { $("tunnel-state").textContent = error.message; }
  await act(drawTunnel);
}
function disconnect() {
  $("sure").returnValue = "no";
  $("sure").showModal();
}
async function disconnected() {
  if ($("sure").returnValue !== "yes") return;
  try {
    await ask("/tunnel", { method: "DELETE" });
    isDown = true;
    $("tunnel-deeds").hidden = true;
    $("tunnel-state").textContent = words.isDown;
    say(words.isDown);
  } catch (error) { $("tunnel-state").textContent = error.message; }
}
function blockedRow(event, mayAdd) {
  const row = make("tr");
  const where = [event.list, event.line].filter(Boolean).join(":");
  const who = [event.program?.split("/").at(-1), event.client, event.device].filter(Boolean).join(" ");
  row.append(make("td", new Date(event.time).toLocaleTimeString(language)), make("td", event.url || event.host));
  row.append(make("td", where ? [where, event.category && `(${event.category})`].filter(Boolean).join(" ") : event.why), make("td", who || "–"));
  const cell = make("td");
  if (mayAdd && !allowed.has(event.host)) {
    const button = make("button", words.allow, { "aria-label": `${words.allow}: ${event.host}`, "data-key": `allow ${event.host} ${event.time}` });
    button.onclick = () => act(async () => {
      button.disabled = true;
      try {
        await ask("/filter/allow", { method: "POST", body: JSON.stringify({ host: event.host }) });
        allowed.add(event.host);
        $("filter-box").focus();
        await drawFilter();
        $("filter-state").textContent = `${words.allowedNow}: ${event.host}`;
      } catch (error) { button.disabled = false; $("filter-state").textContent = error.message; }
    });
    cell.append(button);
  } else if (allowed.has(event.host)) cell.textContent = words.allowedNow;
  row.append(cell);
  return row;
}
async function drawFilter() {
  const found = await ask("/filter");
  const told = JSON.stringify(found);
  if (told === filterTold && allowed.size === filterAllowed) return; // nothing is drawn anew under a finger or a reader
  [filterTold, filterAllowed] = [told, allowed.size];
  $("filter-box").hidden = !found.events.length;
  const cannot = found.add === null ? words.noAllowList : found.may_add ? "" : words.noSecret;
  const nothing = !found.enabled ? words.noFilter : found.events.length ? "" : words[`privacy_${found.privacy}`];
  $("filter-state").textContent = nothing || cannot;
  redraw($("filter-rows"), found.events.map((event) => blockedRow(event, found.may_add)));
}
function heardLog(record) {
  $("log-lines").prepend(make("li", record.payload, record.type === "info" ? {} : { class: record.type }));
  while ($("log-lines").children.length > 500) $("log-lines").lastChild.remove();
}

function turn() {
  const names = ["overview", "tunnel", "servers", "flows", "rules", "filter", "log"];
  page = names.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview";
  for (const name of names) $(name).hidden = name !== page;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash.slice(1) !== page) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "page");
    link.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone not all links fit
  }
  act({ overview: async () => drawTraffic(), tunnel: drawTunnel, servers: drawServers, flows: async () => drawFlows(), rules: drawRules, filter: drawFilter, log: async () => {} }[page]);
}
async function start() {
  try { await ask("/version"); } catch (error) { say(error.message, true); return; }
  $("login").hidden = true;
  say(words.connected);
  follow("/traffic", heardTraffic);
  follow("/connections", heardFlows);
  follow("/logs", heardLog);
  setInterval(() => { if (page === "filter" && !document.hidden) act(drawFilter); }, 2000);
  turn();
}

document.documentElement.lang = language;
for (const each of document.querySelectorAll("[data-word]")) each.textContent = words[each.dataset.word];
$("graph").querySelector("title").textContent = words.graph;
$("find").oninput = () => { $("flow-box").scrollTop = 0; drawFlows(); };
$("flow-box").onscroll = () => requestAnimationFrame(drawFlows);
$("close-all").onclick = () => act(() => ask("/connections", { method: "DELETE" }));
$("read-again").onclick = () => useProfile(null);
$("disconnect").onclick = disconnect;
$("sure").onclose = disconnected;
$("lookup").onsubmit = (event) => {
  event.preventDefault();
  act(async () => { try { await lookUp(); } catch (error) { $("answer").textContent = error.message; } });
};
$("login").onsubmit = (event) => {
  event.preventDefault();
  secret = $("secret").value;
  sessionStorage.setItem("secret", secret);
  start();
};
addEventListener("hashchange", turn);
start();
