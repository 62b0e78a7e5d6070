// Elements without markup: text from a session is only ever text.

export type Child = Element | string | null | undefined | false;

interface Given {
  class?: string;
  title?: string;
  onclick?: (event: MouseEvent) => void;
  [attribute: string]: unknown;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  given: Given = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value as EventListener);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.filter((child): child is Element | string => Boolean(child)));
  return made;
}

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text for people: control and direction characters shown as symbols, cut to a length. */
export function shown(text: string, most = 2000): string {
  const cut = text.length > most ? `${text.slice(0, most)} …` : text;
  return cut.replace(CONTROLS, (found) => {
    const code = found.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : "\ufffd";
  });
}

/** The id of an agent for people: one that is empty gets the words that reports use, too. */
export const named = (agent: string, most: number): string => shown(agent || "(no name)", most);

/** The keyed children of a list: those that stay are reused, so that focus and scrolling stay, too. */
export function refill(parent: Element, children: readonly Element[]): void {
  const active = document.activeElement;
  const key = active && parent.contains(active) ? (active as HTMLElement).dataset["key"] : undefined;
  parent.replaceChildren(...children);
  if (key !== undefined) {
    for (const each of parent.querySelectorAll<HTMLElement>("[data-key]")) {
      if (each.dataset["key"] === key) each.focus({ preventScroll: true });
    }
  }
}
