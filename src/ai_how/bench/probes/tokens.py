"""Count the tokens of texts by a Hugging Face tokenizer: texts as JSON on standard input, counts on standard output.

python tokens.py TOKENIZER.json. Runs in a runtime environment that has `tokenizers`.
"""

from __future__ import annotations

import json
import sys

from tokenizers import Tokenizer


def main() -> int:
    tokenizer = Tokenizer.from_file(sys.argv[1])
    texts = json.load(sys.stdin)
    print(json.dumps([len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
