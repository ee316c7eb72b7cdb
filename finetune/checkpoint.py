"""What a trained cell leaves behind: a PEFT adapter folder, or the tensors that trained as safetensors."""

from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

WEIGHTS_FILE = "weights.safetensors"
ADAPTER_FILE = "adapter_config.json"


def save_trained(module: nn.Module, folder: Path) -> None:
    """Write what trained and nothing else, so that a cell of a 4 GB tower takes megabytes.

    Args:
        module: what `Strategy.apply` returned. A PEFT model becomes an adapter folder that
            `peft.PeftModel.from_pretrained` reads, any other `weights.safetensors` with timm's key names.
    """
    if hasattr(module, "peft_config"):
        cast(Any, module).save_pretrained(folder)
        return
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    state = module.state_dict()
    save_file({name: state[name].contiguous().cpu() for name in sorted(trained)}, folder / WEIGHTS_FILE)


def load_trained(tower: VisionTransformer, folder: Path) -> VisionTransformer:
    """Put a trained cell's weights into its tower (built by the same backbone, classifier attached).

    Raises:
        ValueError: the folder holds weights that the tower does not have.
    """
    if (folder / ADAPTER_FILE).is_file():
        from peft import PeftModel  # seconds to import; see finetune.strategies

        return PeftModel.from_pretrained(tower, folder).eval().get_base_model()
    state = load_file(folder / WEIGHTS_FILE)
    unexpected = tower.load_state_dict(state, strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"{folder / WEIGHTS_FILE} does not fit the tower: it holds {', '.join(unexpected[:5])}")
    return tower.eval()
