/** Words that printers take. */
export const PRINTED =
  "block blocks team first own_column first_column begin end low high token tokens seen saved pair all " +
  "item items items_before own part column row inside sum index batch count found marks next have m n k a b b0 b1 b2 b3 i j step group groups lane";
