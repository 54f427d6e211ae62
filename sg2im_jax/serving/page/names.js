// Names that are not known, and those that are.

/** Names by how many pairs of neighbouring letters they share with a word. */
export function nearest(word, names) {
  const pairs = (text) => new Set([...` ${text}`].map((_, index) => ` ${text} `.slice(index, index + 2)));
  const own = pairs(word);
  const score = (name) => {
    const others = pairs(name);
    return [...own].filter((pair) => others.has(pair)).length / Math.max(own.size, others.size);
  };
  return [...names].sort((one, other) => score(other) - score(one));
}
