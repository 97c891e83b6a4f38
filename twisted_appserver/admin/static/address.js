// The state of a page is in its address, after the #: a name and, after a ?, further values.

// A name with a % that begins no code stays as it is.
function decoded(name) {
  try { return decodeURIComponent(name); } catch { return name; }
}

export function readAddress() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return { name: decoded(name), state: new URLSearchParams(query) };
}

export function addressOf(name, state = new URLSearchParams()) {
  const query = String(state);
  return `#${encodeURIComponent(name)}${query && `?${query}`}`;
}

// Add a value to the values with a name in the state of a page, or remove it.
export function keep(state, name, value, isKept) {
  const others = state.getAll(name).filter(each => each !== value);
  state.delete(name);
  for (const each of isKept ? [...others, value] : others) state.append(name, each);
}

// Replace the address without a new entry in the history and without an event.
export function writeAddress(name, state) {
  history.replaceState(null, "", addressOf(name, state));
}
