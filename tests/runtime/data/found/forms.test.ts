import { describe, expect, test } from "vitest";
import { paragraphsOf } from "../../../../runtime/data/found/forms.ts";
import { isProse } from "../../../../runtime/data/found/prose.ts";

describe("forms", () => {
  test("plain text: paragraphs and items on one line, no indented blocks", () => {
    const text = "One\n  two.\n\n    code\n\n* first\n  item\n* second\n";
    expect(paragraphsOf(text, "plain")).toEqual(["One two.", "first item", "second"]);
  });

  test("plain text that is indented as a whole", () => {
    expect(paragraphsOf("    One\n    two.\n\n    Three.\n\n        code\n", "plain")).toEqual(["One two.", "Three."]);
  });

  test("markdown: no headings, tables, code and links", () => {
    const text = [
      "---\ntitle: x\n---\n# Title\n\nA **bold** [link](https://a.b) with `code`, and _more_ [here][1].",
      "```js\nlet a;\n```",
      "| a | b |",
      "<!-- no -->\nSee snake_case_name.",
      "[1]: https://a.b",
    ].join("\n\n");
    expect(paragraphsOf(text, "markdown")).toEqual(["A bold link with code, and more here.", "See snake_case_name."]);
  });

  test("pod between Perl code", () => {
    const text =
      "use strict;\n\n=head1 NAME\n\nThe C<open> of L<this|perlfunc> and B<I<that>>, X<index>see F<< a->b >>.\n\n  code\n\n=cut\n\nsub x {}\n";
    expect(paragraphsOf(text, "pod")).toEqual(["The open of this and that, see a->b."]);
  });

  test("Python: texts in three quotes and blocks of comments", () => {
    const text =
      'def f():\n    """Does :func:`~os.walk` and ``that``.\n\n    >>> f()\n    More.\n    """\n    # A comment\n    # goes on.\n    x = 1  # not\n';
    expect(paragraphsOf(text, "python")).toEqual(["Does os.walk and that.", "More.", "A comment goes on."]);
  });

  test("the reference of Python", () => {
    const text = `topics = {'assert': 'The "assert" statement\\n'
           '\\n'
           'It\\'s used to insert '
           'assertions.\\n',
 'if': "Don't.\\n"
}`;
    expect(paragraphsOf(text, "topics")).toEqual([
      'The "assert" statement',
      "It's used to insert assertions.",
      "Don't.",
    ]);
  });

  test("comments of C++ and TypeScript", () => {
    const text =
      "/**\n * @brief The %list of `names`.\n *\n * @param x no\n * See {@link a} and <b>b</b>.\n */\nint x; /* Short. */ // no\n";
    expect(paragraphsOf(text, "comments")).toEqual(["The list of names.", "See a and b.", "Short."]);
  });
});

describe("prose", () => {
  test.each([
    "The compiler reads a file of the language and writes a package that runs on any of the machines.",
    "If you want to use it with another version, then you have to build it by yourself (see the notes).",
  ])("is: %s", (text) => expect(isProse(text)).toBe(true));

  test.each([
    ["too short", "It is so."],
    ["no sentence", "the compiler reads a file of the language and writes a package that runs on any of the machines"],
    ["a list of names", "Alpha Beta, Gamma Delta, Epsilon Zeta, Eta Theta, Iota Kappa, Lambda Mu, Nu Xi, Omicron Pi."],
    [
      "code",
      "If (a == b) { return c[0] + d[1]; } else { for (int i = 0; i < n; i++) x[i] += 2 * y[i]; } // and so on.",
    ],
    [
      "German",
      "Der Compiler liest eine Datei der Sprache und schreibt ein Paket, das auf allen Maschinen laufen kann.",
    ],
    [
      "a long line of signs",
      `The ${"=".repeat(60)} is a line that should not be in any of the texts that we want to use.`,
    ],
  ])("is not: %s", (_, text) => expect(isProse(text)).toBe(false));
});
