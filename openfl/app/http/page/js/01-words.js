// Numbers, times and names as text. Nothing here touches the page.

const UNKNOWN = "–";
const KNOWN_METRICS = {
  rmse: ["RMSE", "how far predicted ratings are off, on average"],
  log_loss: ["log loss", "how surprised it is by the right answers"],
  ndcg_loss: ["NDCG loss", "how far the ranking is from the best one"],
};

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// What strangers or files may have written: nothing that is unseen, that turns the direction of
// writing, or that piles up on one letter.
function seen(text, limit = 120) {
  let safe = String(text ?? "").normalize("NFC");
  if (safe.length > limit) safe = safe.slice(0, limit - 1) + "…";
  return safe
    .replace(/[\t\n\r]/g, " ")
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0\u2800]/gu, "\ufffd")
    .replace(/(\p{M}{3})\p{M}+/gu, "$1");
}

function shortPeer(id) {
  const safe = seen(id, 200);
  return safe.length <= 12 ? safe : `${safe.slice(0, 4)}…${safe.slice(-6)}`;
}

const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en") : UNKNOWN);
const metricValue = (value) => (isNumber(value) ? value.toFixed(4) : UNKNOWN);
const metricName = (metric) => KNOWN_METRICS[metric]?.[0] ?? (seen(metric, 24).replaceAll("_", " ") || "error");
const metricMeaning = (metric) => KNOWN_METRICS[metric]?.[1] ?? "how far its predictions are off";

function percentText(part) {
  if (!isNumber(part)) return UNKNOWN;
  const percent = Math.abs(100 * part);
  return `${percent >= 9.95 ? percent.toFixed(0) : percent.toFixed(1)} %`;
}

function bytesText(count) {
  if (!isNumber(count)) return UNKNOWN;
  if (count < 1000) return `${count.toFixed(0)} B`;
  for (const unit of ["KB", "MB", "GB"]) {
    count /= 1000;
    if (count < 999.95) return `${count.toFixed(1)} ${unit}`;
  }
  return `${(count / 1000).toFixed(1)} TB`;
}

function ageText(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  if (seconds < 1.5) return "now";
  let value = seconds;
  for (const [size, unit] of [[60, "s"], [60, "min"], [24, "h"]]) {
    if (value < size - 0.5) return `${value.toFixed(0)} ${unit} ago`;
    value /= size;
  }
  return `${value.toFixed(0)} d ago`;
}

function spanText(seconds) {
  return seconds < 2 ? `${Number(seconds.toFixed(1))} s` : ageText(seconds).replace(" ago", "");
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function clockText(time) {
  if (!isNumber(time)) return UNKNOWN;
  const date = new Date(time * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function dateText(time) {
  if (!isNumber(time)) return UNKNOWN;
  const date = new Date(time * 1000);
  return `${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}, ${two(date.getHours())}:${two(date.getMinutes())}`;
}

// Today's times as times of day, others with their date.
function whenText(time, now) {
  if (!isNumber(time)) return UNKNOWN;
  const same = new Date(time * 1000).toDateString() === new Date(now * 1000).toDateString();
  return same ? clockText(time) : dateText(time);
}

const countOf = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letterOf = (community) => (isNumber(community) ? LETTERS[community % 26] : "");
const colourOf = (community) => (isNumber(community) ? `c${(community % 6) + 1}` : "c1");

function listText(words, most = 8) {
  const shown = words.slice(0, most);
  if (words.length > most) return `${shown.join(", ")} and ${words.length - most} more`;
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

// How the error `now` compares with `before`: {part, better, amount, text}; null when either is
// unknown. Lower is better with every metric of OpenFL.
function comparison(now, before) {
  if (!isNumber(now) || !isNumber(before) || before === 0) return null;
  const part = (before - now) / Math.abs(before);
  if (Math.abs(part) < 0.0005) return { part, better: null, amount: "as well", text: "as good as" };
  const amount = `${percentText(part)} ${part > 0 ? "better" : "worse"}`;
  return { part, better: part > 0, amount, text: `${amount} than` };
}

// A reason as a node gave it; it may begin with the name of a group, which stays as it is.
const reason = (text) => {
  const safe = seen(text, 400).trim().replaceAll("+-", "±");
  return /[.!?…]$/.test(safe) || !safe ? safe : `${safe}.`;
};

// Of a move, without the groups, which are said beside it.
function moveReason(move) {
  const text = String(move.why ?? "");
  const begin = [`moved from ${move.from} to ${move.to}: `, `founded ${move.to}, left ${move.from}: `].find((words) => text.startsWith(words));
  return reason(begin ? text.slice(begin.length) : text);
}

const sentence = (text) => {
  const safe = text.trim();
  if (!safe) return "";
  return safe[0].toUpperCase() + safe.slice(1) + (/[.!?…]$/.test(safe) ? "" : ".");
};

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Of a sample: with the divisor n - 1; 0 of one value.
function spread(values) {
  if (values.length < 2) return 0;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
