// The sandbox's page: shows what the simulated provider knows, live, and writes as both sides.
//
// Everything is drawn from `state`; the server's events change it. When the line of events was lost,
// all of it is read anew. Texts are set as text, never as HTML.

import {
  AUTHORS, counted, deskBubble, element, phoneBubble, prettyPhone, seconds, turnCard, waitingCard,
} from "/sandbox/cards.js";

const WHY_EVERY_MS = 2000;
const LISTEN_AGAIN_MS = 1000;
const NEAR_END_PX = 80;
const NEAR_LIMIT_CHARS = 200;
const AWAY = "Relevo does not answer. Is it still running? "
  + "The page goes on by itself when it is back.";

const $ = (id) => document.getElementById(id);
const state = {
  customers: new Map(), // phone -> {phone, name, last}, the latest first
  thread: new Map(), // id -> message of the selected customer
  arrived: new Map(), // what events brought while the thread was being asked for
  turns: [], // of the selected customer, the latest first
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
  const response = await fetch(path, options).catch(() => { throw new Error(AWAY); });
  if (response.ok) return response.json();
  const refusal = await response.json().catch(() => ({}));
  throw new Error(`That did not work. ${refusal.why ?? `The server answered ${response.status}.`}`);
}

async function trying(work) {
  try {
    await work();
    say("");
    return true;
  } catch (error) {
    say(error.message);
    return false;
  }
}

function say(sentence) {
  if ($("notice").textContent !== sentence) $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
}

function listen() {
  const events = new EventSource("/sandbox/events");
  let lost = 0;
  events.addEventListener("open", () => { lost = 0; live(true); trying(readAll); });
  events.addEventListener("error", () => {
    live(false);
    lost += 1;
    if (lost > 1) say(AWAY); // once may be a line that was only cut
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, LISTEN_AGAIN_MS);
  });
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

function live(on) {
  $("live").dataset.state = on ? "live" : "away";
  $("live-text").textContent = on ? "Live" : "Reconnecting";
  drawWaiting();
}

function drawSwitch(on) {
  $("agent-webhooks").checked = on;
  $("agent-webhooks-text").textContent = on
    ? "On: agents and automation are heard" : "Off: agents and automation go unheard";
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
  drawTimes();
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

function drawTimes() {
  drawSilence();
  drawWaiting();
}

function drawSilence() {
  const written = [...state.thread.values()].filter((message) => message.side === "in");
  $("silence").hidden = !written.length;
  if (!written.length) return;
  const silent = secondsSince(written[written.length - 1].at);
  const gap = state.settings.gap_seconds;
  const isGap = silent > gap;
  $("silence").dataset.gap = isGap;
  $("silence-meter").value = gap ? Math.min(1, silent / gap) : 1;
  $("silence-text").textContent = isGap
    ? `${seconds(silent)} silent: a gap`
    : `${seconds(silent)} silent of ${seconds(gap)}`;
}

const secondsSince = (at) =>
  Math.max(0, (Date.now() + state.clockAheadMs - Date.parse(at)) / 1000);

// What the customer wrote and neither a reply nor an ended turn came after: Relevo is at it, as far
// as a page can know that hears from it.
function drawWaiting() {
  const settledAt = state.turns.find((turn) => turn.at)?.at ?? "";
  const thread = [...state.thread.values()];
  const replied = thread.findLastIndex((message) => message.author === "assistant");
  const waiting = thread.slice(replied + 1).filter((message) =>
    message.side === "in" && message.delivery !== "given_up"
    && !(Date.parse(message.at) <= Date.parse(settledAt)));
  const last = $("live").dataset.state === "live" ? waiting[waiting.length - 1] : undefined;
  const quiet = state.settings.quiet_seconds;
  const gathers = last && secondsSince(last.at) < quiet;
  const text = gathers ? `Gathering, answers after ${quiet}\u00a0s of silence` : "Reading and answering";
  $("waiting").hidden = !last;
  if ($("waiting-text").textContent !== text) $("waiting-text").textContent = text;
  const open = state.turns.some((turn) => !turn.outcome);
  $("turns").querySelector(".turn[data-outcome=waiting]")?.remove();
  if (last && !open) $("turns").prepend(waitingCard(waiting.length, text));
  $("no-turns").hidden = $("turns").children.length > 0;
}

function drawTurns(turns) {
  state.turns = turns;
  $("turns").replaceChildren(...turns.map(turnCard));
  drawWaiting();
}

// --- writing ----------------------------------------------------------------------------------

function composer(form, field, count, write) {
  const left = () => {
    const chars = field.maxLength - field.value.length;
    count.hidden = chars > NEAR_LIMIT_CHARS;
    count.textContent = chars > 0
      ? `${counted(chars, "character", "characters")} left`
      : `${field.maxLength} characters, the most a message may have. What was longer is cut off.`;
  };
  field.addEventListener("input", left);
  const submit = async () => {
    const text = field.value.trim();
    if (!text || !state.selected) return;
    field.value = "";
    left();
    const written = await trying(() => write(text));
    if (!written && !field.value) field.value = text;
    left();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
}

composer($("phone-form"), $("phone-text"), $("phone-count"), (text) =>
  ask("/sandbox/api/customer", { phone: state.selected, text }));
composer($("desk-form"), $("desk-text"), $("desk-count"), (text) =>
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

setInterval(drawTimes, 1000);
setInterval(() => readWhy().catch(() => {}), WHY_EVERY_MS); // the next round tries again
listen();
