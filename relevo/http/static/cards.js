// What the page shows of messages and turns: each drawn from one of them alone.

export const AUTHORS = { customer: "Customer", assistant: "AI", agent: "Agent", automation: "Automation" };
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

export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export const time = (at) =>
  new Date(at).toLocaleTimeString([], { timeStyle: "medium", hourCycle: "h23" });
export const prettyPhone = (phone) => phone.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 $1 $2 $3");
export const seconds = (count) => {
  const whole = Math.floor(count);
  if (whole < 90) return `${whole} s`;
  return whole < 5400 ? `${Math.round(whole / 60)} min` : `${Math.round(whole / 3600)} h`;
};
export const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;

export function phoneBubble(message) {
  const bubble = element("article", "bubble",
    element("p", "text", message.text),
    element("p", "meta", time(message.at)));
  bubble.dataset.side = message.side;
  return bubble;
}

export function deskBubble(message) {
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

export function turnCard(turn) {
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

export function waitingCard(count, text) {
  const card = element("li", "turn",
    element("p", "verdict", element("b", "", counted(count, "message waits", "messages wait"))),
    element("p", "outcome", text));
  card.dataset.outcome = "waiting";
  return card;
}
