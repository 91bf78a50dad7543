/** One more item under a key. */
export function addTo<K, V>(groups: Map<K, V[]>, key: K, item: V): void {
  const own = groups.get(key);
  if (own === undefined) groups.set(key, [item]);
  else own.push(item);
}
