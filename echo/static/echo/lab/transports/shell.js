/** Writes the command that runs the same race from a shell. */

// What the command imitates unless it is told otherwise: echo/lab/racer/heads.py.
const DEFAULT_USER_AGENT =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
  "HeadlessChrome/156.0.8078.79 Safari/537.36";

/**
 * Return the command for the settings, without those that are the default; `browser` is null
 * or what the server has seen, `{user_agent, accept_language}`.
 */
export function shellCommand(origin, settings, defaults, browser) {
  const words = ["manage.py race", `--url ${origin}`];
  for (const [name, value] of Object.entries(settings)) {
    if (value !== (defaults[name] ?? "steady")) words.push(`--${name} ${value}`);
  }
  const { user_agent: agent, accept_language: language } = browser ?? {};
  if (agent && agent !== DEFAULT_USER_AGENT) words.push(`--user-agent ${quote(agent)}`);
  if (language) words.push(`--accept-language ${quote(language)}`);
  return words.join(" ");
}

function quote(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
