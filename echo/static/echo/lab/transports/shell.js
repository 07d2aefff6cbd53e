/** Writes the command that runs the same race from a shell. */

// What the command imitates unless it is told otherwise: echo/lab/racer/heads.py.
const DEFAULT_USER_AGENT =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
  "HeadlessChrome/156.0.8078.79 Safari/537.36";
const DEFAULT_BRANDS =
  '"Not:A-Brand";v="8", "Chromium";v="156", "HeadlessChrome";v="156"';

/**
 * Return the command for the settings, without those that are the default; `browser` is null
 * or what the server has seen, `{user_agent, sec_ch_ua, accept_language}`.
 */
export function shellCommand(origin, settings, defaults, browser) {
  const words = ["manage.py race", `--url ${origin}`];
  for (const [name, value] of Object.entries(settings)) {
    if (value !== (defaults[name] ?? "steady")) words.push(`--${name} ${value}`);
  }
  return [...words, ...(browser ? browserOptions(browser) : [])].join(" ");
}

function browserOptions({ user_agent, sec_ch_ua, accept_language }) {
  const words = [];
  if (user_agent !== DEFAULT_USER_AGENT)
    words.push(`--user-agent ${quote(user_agent)}`);
  if (sec_ch_ua !== DEFAULT_BRANDS) words.push(`--sec-ch-ua ${quote(sec_ch_ua)}`);
  if (accept_language) words.push(`--accept-language ${quote(accept_language)}`);
  return words;
}

function quote(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
