"""What a trained cell leaves behind: a PEFT adapter folder, or the tensors that trained as safetensors."""

from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from backbones.weights import load_strictly, require_fit

WEIGHTS_FILE = "weights.safetensors"
ADAPTER_FILE = "adapter_config.json"  # this and the next are PEFT's names
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"


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
        backbones.WeightsError: the weights have keys or shapes that the tower has not; for an adapter also the reverse.
    """
    if (folder / ADAPTER_FILE).is_file():
        # Seconds to import; see finetune.strategies. PeftModel.from_pretrained would pass over keys that do not fit.
        from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

        module = get_peft_model(tower, PeftConfig.from_pretrained(folder))
        state = load_file(folder / ADAPTER_WEIGHTS_FILE)
        require_fit(get_peft_model_state_dict(module), state, fresh=(), source=folder / ADAPTER_WEIGHTS_FILE)
        set_peft_model_state_dict(module, state)
        return module.eval().get_base_model()
    state = load_file(folder / WEIGHTS_FILE)
    frozen = tower.state_dict().keys() - state.keys()
    load_strictly(tower, state, fresh=frozen, source=folder / WEIGHTS_FILE)
    return tower.eval()
