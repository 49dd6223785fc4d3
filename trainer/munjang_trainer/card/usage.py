"""How to call the model: through munjang over gRPC, on the command line, and without munjang."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from munjang_trainer.recipe.recipe import Recipe


def usage(recipe: Recipe) -> str:
    """The section on usage."""
    prompt = recipe.model.prompt
    remark = (
        f"The prompt `{prompt}` is put before every text unless another is named: the model was trained with it."
        if prompt
        else "No prompt is needed."
    )
    return f"""## Usage

Over gRPC, with munjang's client; the reply says which version made the vectors:

```python
from munjang.client import Client

with Client("127.0.0.1:50051") as client:
    reply = client.encode(["한 남자가 드럼을 치고 있다.", "남자가 음악을 연주하고 있다."])
    print(reply.version, reply.vectors.shape)
    scores = client.similarity(["한 남자가 드럼을 치고 있다."], ["남자가 음악을 연주하고 있다."])
```

Vectors of different versions do not mix: name a version (`version=7`) where you keep vectors. On the command line:
`munjang encode "한 남자가 드럼을 치고 있다."`. Without munjang: `SentenceTransformer(folder).encode(texts)`.

{remark}
"""
