/** Texts for the parser's tests: ordinary, awkward and hostile. Used by the unit tests only. */
const fence = '```';

export const corpus: Record<string, string> = {
  ordinary: `# Orbits

A comet **speeds up** near the *Sun*, because ~~magic~~ energy is conserved: \`E = T + V\`.
See [the article](https://example.org/orbit "title") or https://example.com/a_b.

1. First
2. Second
   - nested **bold**
   - [x] done
   - [ ] open

> A quote
> over two lines

| r | speed |
|---|------:|
| 1 | 29.8 |
| 2 | **21.1** |

${fence}python
def f(x):
    return x * 2  # \`not a fence\`

${fence}

---

Inline $v = \\sqrt{GM/r}$ and \\(a_{1}\\), prices $5 and $10.

$$
v^2
- 2GM/r
= c
$$

\\[ E = mc^2 \\]

\\begin{align}
a &= b \\\\
c &= d
\\end{align}

The end with a ![picture](https://example.org/p.png) as a link.
`,
  bulletsWithCode: `- one
- two:
  ${fence}js
  const a = '- not a list';
  ${fence}
- three

  para in three
`,
  tildes: `~~~
a
${fence}
b
~~~~
after
`,
  unclosedFence: `text\n\n${fence}sh\nls -l\n- x\n`,
  unclosedMath: 'before\n\n$$\na\n- b\n\nafter **bold** and \\( open\n',
  setext: 'Title\n=====\n\nSub\n---\n\ntext\n---\n',
  html: '<script>alert(1)</script>\n\n<img src=x onerror=alert(1)> and <b>bold</b> <!-- c -->\n',
  links:
    '[x](javascript:alert(1)) [y](  data:text/html,a ) [z](/local) <javascript:x> ' +
    '![i](vbscript:a)\n' +
    '[w](java&#10;script:alert(1)) [ok](mailto:a@example.org)\n',
  references: 'A [late][one] and [two].\n\nmore\n\n[one]: https://example.org/1\n[two]: /x\n',
  emphasis:
    '**bold *both* more** __under__ snake_case_name *a\nb* ***all*** **open\n\nnext * star\n',
  rtl: 'مرحبا بالعالم هذا نص عربي طويل مع `code` و $x$ داخل الفقرة.\n\nEnglish again.\n',
  emoji: '👩‍👩‍👧‍👦 **fam👨‍👩‍👧ily** 🇫🇷 e\u0301 \u202e evil\n',
  nested: `${'> '.repeat(50)}deep\n\n${'- '.repeat(45)}x\n`,
  brackets: `${'['.repeat(90)}a${']('.repeat(90)}`,
  stars: `${'*'.repeat(300)}a${'_'.repeat(300)}b`,
  dollars: '$'.repeat(101) + ' a ' + '$1 $2 $3$ $a$ $b $$c$$ $$ $$\n$$x$$ is nice\ntext\n$$y$$\n',
  backslashes: '\\\\( not \\\\) \\( a \\\\ b \\) \\[ c \\\\\\] d \\] \\$5 \\`x\n',
  carriage: 'a\r\n\r\n- b\r\n- c\r\n\r\n```\r\nx\r\n```\r\n',
  tableOnly: 'text before\n| a | b |\n|---|---|\n| 1 | $x|y$ |\n| long\n\nafter | not\n',
  entities: '&lt;b&gt; &amp;&#x41; &bogus; &#0; \u0000 end\n',
  indented: '    code\n    more\n\ntext\n\n\tt\n',
};
