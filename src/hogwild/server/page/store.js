// The browser's stores, where it has them: one that is full, or forbidden, forgets at once and breaks nothing.

const safely = (store) => ({
  /** What is kept under `key`, or null. */
  get(key) {
    try {
      return globalThis[store].getItem(key);
    } catch {
      return null;
    }
  },
  /** Keep a text, or forget it (null); whether it is as asked. */
  set(key, text) {
    try {
      globalThis[store].removeItem(key);
      if (text !== null) globalThis[store].setItem(key, text);
      return true;
    } catch {
      return false;
    }
  },
});

/** What this tab remembers until it is closed. */
export const tab = safely("sessionStorage");

/** What this browser remembers. */
export const browser = safely("localStorage");
