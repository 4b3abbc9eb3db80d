// The sandbox's page: shows what the simulated provider knows, live, and writes as both sides.
//
// Everything is drawn from `state`; the server's events change it. When the line of events was lost,
// all of it is read anew. Texts are set as text, never as HTML.

const AUTHORS = { customer: "Customer", assistant: "AI", agent: "Agent", automation: "Automation" };
const DELIVERIES = {
  none: "",
  off: "no webhook, only the history knows",
  waiting: "webhook on its way",
  delivered: "webhook delivered",
  given_up: "webhook given up, only the history knows",
};
const VERDICTS = {
  none: "No gap",
  gap: "Gap",
  first_contact: "First contact",
};
const RECALLS = {
  complete: "History read",
  failed: "History could not be read",
  truncated: "History read in part",
  unavailable: "No history there",
};
const OUTCOMES = {
  answered: "Answered",
  answered_by_human: "A colleague answered",
  held: "Held",
  no_reply: "Chose silence",
  refused: "Refused",
  failed: "Failed",
  merged: "Merged",
};
const WHY_EVERY_MS = 2000;
const NEAR_END_PX = 80;

const $ = (id) => document.getElementById(id);
const state = {
  customers: new Map(), // phone -> {phone, name, last}, the latest first
  thread: new Map(), // id -> message of the selected customer
  arrived: new Map(), // what events brought while the thread was being asked for
  selected: null,
  settings: { quiet_seconds: 0, gap_seconds: 0 },
  clockAheadMs: 0, // the server's clock against ours
};

// --- the server -------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return response.json();
}

async function trying(work) {
  try {
    await work();
    $("notice").hidden = true;
    return true;
  } catch (error) {
    $("notice").textContent = `That did not work. ${error.message}`;
    $("notice").hidden = false;
    return false;
  }
}

function listen() {
  const events = new EventSource("/sandbox/events");
  events.addEventListener("open", () => { live(true); trying(readAll); });
  events.addEventListener("error", () => live(false));
  events.addEventListener("message", (event) => take(JSON.parse(event.data)));
  events.addEventListener("agent_webhooks", (event) => drawSwitch(JSON.parse(event.data).on));
}

async function readAll() {
  const [settings, customers] = await Promise.all([
    ask("/sandbox/api/config"), ask("/sandbox/api/customers"),
  ]);
  state.settings = settings;
  state.clockAheadMs = Date.parse(settings.now) - Date.now();
  $("gap-seconds").textContent = settings.gap_seconds;
  $("quiet-seconds").textContent = settings.quiet_seconds;
  drawSwitch(settings.agent_webhooks);
  state.customers = new Map(customers.map((customer) => [customer.phone, customer]));
  await select(state.customers.has(state.selected) ? state.selected : customers[0]?.phone);
}

async function select(phone) {
  if (!phone) return;
  if (phone !== state.selected) drawTurns([]);
  state.selected = phone;
  state.arrived = new Map();
  const thread = await ask(`/sandbox/api/thread?phone=${encodeURIComponent(phone)}`);
  if (phone !== state.selected) return; // another one was chosen while we asked
  const asked = thread.map((message) => [message.id, message]);
  state.thread = new Map([...asked, ...state.arrived]);
  state.customers.get(phone).last = [...state.thread.values()].pop() ?? null;
  drawCustomers();
  drawThread();
  scrollToEnd();
  await readWhy();
}

async function readWhy() {
  const phone = state.selected;
  if (!phone || document.hidden) return;
  const turns = await ask(`/sandbox/api/why?phone=${encodeURIComponent(phone)}`);
  if (phone === state.selected) drawTurns(turns);
}

function take(message) {
  const known = state.customers.get(message.phone);
  if (!known) { trying(readAll); return; }
  if (!known.last || known.last.at <= message.at) known.last = message;
  const others = [...state.customers].filter(([phone]) => phone !== message.phone);
  state.customers = new Map([[message.phone, known], ...others]);
  drawCustomers();
  if (message.phone !== state.selected) return;
  state.arrived.set(message.id, message);
  state.thread.set(message.id, message);
  drawThread();
}

// --- drawing ----------------------------------------------------------------------------------

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function live(on) {
  $("live").dataset.state = on ? "live" : "away";
  $("live-text").textContent = on ? "Live" : "Reconnecting";
}

const time = (at) =>
  new Date(at).toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
const prettyPhone = (phone) => phone.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 $1 $2 $3");
const seconds = (count) => {
  const whole = Math.floor(count);
  if (whole < 90) return `${whole} s`;
  return whole < 5400 ? `${Math.round(whole / 60)} min` : `${Math.round(whole / 3600)} h`;
};
const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;

function drawSwitch(on) {
  $("agent-webhooks").checked = on;
  $("agent-webhooks-text").textContent = on
    ? "On: Relevo hears of agents" : "Off: only the history knows";
}

function drawCustomers() {
  const rows = [...state.customers.values()].map((customer) => {
    const avatar = element("span", "avatar", customer.name.slice(0, 1));
    avatar.setAttribute("aria-hidden", "true");
    avatar.dataset.tint = Number(customer.phone.slice(-2)) % 5;
    const last = customer.last;
    const who = last && last.author !== "customer" ? `${last.name || AUTHORS[last.author]}: ` : "";
    const button = element("button", "",
      avatar,
      element("span", "who",
        element("b", "", customer.name),
        element("span", "number", prettyPhone(customer.phone)),
        element("span", "last", last ? who + last.text : "No messages yet")),
    );
    button.type = "button";
    button.dataset.phone = customer.phone;
    button.setAttribute("aria-current", String(customer.phone === state.selected));
    button.addEventListener("click", () => trying(() => select(customer.phone)));
    return element("li", "", button);
  });
  const focused = document.activeElement?.dataset?.phone;
  $("customers").replaceChildren(...rows);
  if (focused) $("customers").querySelector(`[data-phone="${focused}"]`)?.focus();
}

function drawThread() {
  const customer = state.customers.get(state.selected);
  const messages = [...state.thread.values()];
  $("desk-name").textContent = customer.name;
  $("desk-phone").textContent = prettyPhone(customer.phone);
  $("phone-owner").textContent = customer.name;
  fill($("phone-chat"), messages, phoneBubble, "Say hello. The reply comes from Relevo.");
  fill($("desk-chat"), messages, deskBubble, `${customer.name} has not written yet.`);
  drawSilence();
}

// Touches only what has changed, so that a screen reader says new messages and nothing else.
function fill(chat, messages, bubbleOf, whenEmpty) {
  const atEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < NEAR_END_PX;
  const drawn = new Map([...chat.children].map((node) => [node.dataset.key, node]));
  const wanted = messages.map((message) => {
    const key = `${message.id} ${message.delivery}`;
    const node = drawn.get(key) ?? bubbleOf(message);
    node.dataset.key = key;
    return node;
  });
  if (!wanted.length) wanted.push(element("p", "empty", whenEmpty));
  for (const node of drawn.values()) if (!wanted.includes(node)) node.remove();
  wanted.forEach((node, index) => {
    if (chat.children[index] !== node) chat.insertBefore(node, chat.children[index] ?? null);
  });
  if (atEnd) chat.scrollTop = chat.scrollHeight;
}

function scrollToEnd() {
  for (const chat of document.querySelectorAll(".chat")) chat.scrollTop = chat.scrollHeight;
}

function phoneBubble(message) {
  const bubble = element("article", "bubble",
    element("p", "text", message.text),
    element("p", "meta", time(message.at)));
  bubble.dataset.side = message.side;
  return bubble;
}

function deskBubble(message) {
  const name = element("p", "author", element("span", "badge", AUTHORS[message.author]));
  if (message.name && message.name !== AUTHORS[message.author]) name.append(message.name);
  const meta = element("p", "meta", time(message.at));
  if (DELIVERIES[message.delivery]) {
    const delivery = element("span", "delivery", DELIVERIES[message.delivery]);
    meta.append(delivery);
  }
  const bubble = element("article", "bubble", name, element("p", "text", message.text), meta);
  bubble.dataset.side = message.side;
  bubble.dataset.author = message.author;
  bubble.dataset.delivery = message.delivery;
  return bubble;
}

function drawSilence() {
  const written = [...state.thread.values()].filter((message) => message.side === "in");
  $("silence").hidden = !written.length;
  if (!written.length) return;
  const now = Date.now() + state.clockAheadMs;
  const silent = Math.max(0, (now - Date.parse(written[written.length - 1].at)) / 1000);
  const gap = state.settings.gap_seconds;
  const isGap = silent > gap;
  $("silence").dataset.gap = isGap;
  $("silence-meter").value = gap ? Math.min(1, silent / gap) : 1;
  $("silence-text").textContent = isGap
    ? `${seconds(silent)} silent: a gap`
    : `${seconds(silent)} silent of ${seconds(gap)}`;
}

function drawTurns(turns) {
  $("no-turns").hidden = turns.length > 0;
  $("turns").replaceChildren(...turns.map(turnCard));
}

function turnCard(turn) {
  const card = element("li", "turn",
    element("p", "verdict",
      element("b", "", VERDICTS[turn.verdict] ?? turn.verdict ?? "Turn"),
      ...(turn.at ? [element("time", "", time(turn.at))] : [])));
  const facts = element("ul", "facts");
  const add = (text) => facts.append(element("li", "", text));
  if (typeof turn.silence_seconds === "number") add(`${seconds(turn.silence_seconds)} of silence before`);
  if (RECALLS[turn.recall]) {
    const read = turn.recalled !== undefined && ["complete", "truncated"].includes(turn.recall);
    const found = read ? `, ${counted(turn.recalled, "new message", "new messages")}` : "";
    add(RECALLS[turn.recall] + found);
  }
  if (turn.missed) add(`AI told of ${counted(turn.missed, "missed message", "missed messages")}`);
  if (facts.children.length) card.append(facts);
  const outcome = turn.outcome ? OUTCOMES[turn.outcome] ?? turn.outcome : "Under way";
  card.append(element("p", "outcome", turn.reason ? `${outcome}: ${turn.reason}` : outcome));
  card.dataset.verdict = turn.verdict;
  card.dataset.outcome = turn.outcome ?? "open";
  return card;
}

// --- writing ----------------------------------------------------------------------------------

function composer(form, field, write) {
  const submit = async () => {
    const text = field.value.trim();
    if (!text || !state.selected) return;
    field.value = "";
    const written = await trying(() => write(text));
    if (!written && !field.value) field.value = text;
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
}

composer($("phone-form"), $("phone-text"), (text) =>
  ask("/sandbox/api/customer", { phone: state.selected, text }));
composer($("desk-form"), $("desk-text"), (text) =>
  ask("/sandbox/api/agent", { phone: state.selected, text, name: $("desk-agent").value.trim() }));

$("greeting").addEventListener("click", () =>
  trying(() => ask("/sandbox/api/greeting", { phone: state.selected })));
$("agent-webhooks").addEventListener("change", async (event) => {
  const on = event.target.checked;
  const done = await trying(() => ask("/sandbox/api/agent_webhooks", { on }));
  drawSwitch(done ? on : !on);
});
$("new-customer").addEventListener("click", () => trying(async () => {
  const customer = await ask("/sandbox/api/customers", {});
  state.customers = new Map([[customer.phone, customer], ...state.customers]);
  await select(customer.phone);
  $("phone-text").focus();
}));

for (const tab of document.querySelectorAll("[data-shows]")) {
  tab.addEventListener("click", () => {
    document.body.dataset.tab = tab.dataset.shows;
    for (const other of document.querySelectorAll("[data-shows]")) {
      other.setAttribute("aria-pressed", String(other === tab));
    }
    scrollToEnd();
  });
}

setInterval(drawSilence, 1000);
setInterval(() => readWhy().catch(() => {}), WHY_EVERY_MS); // the next round tries again
listen();
