/** Tells English prose from code, lists, tables and other languages. */

/** The most frequent words of English texts: every third word, about. */
const FREQUENT: ReadonlySet<string> = new Set(
  (
    "a about after all also an and any are as at be because been before being between both but by can could did do does each " +
    "for from had has have he her his how i if in into is it its just like made make many may more most must no not now of on " +
    "one only or other our out over same she should so some such than that the their them then there these they this those to " +
    "two up use used using was we were what when where which while who will with within without would you your"
  ).split(" "),
);

/** Characters of a paragraph that is worth reading. */
const SHORTEST = 60;

/** The shares of frequent words and of letters and spaces that prose has at least. */
const [LEAST_FREQUENT, LEAST_LETTERS] = [0.28, 0.86];

/** Whether a paragraph on one line is English prose: whole sentences, mostly of words. */
export function isProse(text: string): boolean {
  if (text.length < SHORTEST || !/^["'(A-Z]/.test(text) || !/[.!?][")']*$/.test(text)) return false;
  const words = text.split(" ");
  const longest = words.reduce((most, word) => Math.max(most, word.length), 0);
  if (longest > 40) return false;
  const frequent = words.filter((word) => FREQUENT.has(word.toLowerCase().replaceAll(/[^a-z]/g, ""))).length;
  const letters = text.length - text.replaceAll(/[A-Za-z ]/g, "").length;
  return frequent / words.length >= LEAST_FREQUENT && letters / text.length >= LEAST_LETTERS;
}
