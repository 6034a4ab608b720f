"""The 2-D form of the autoencoder's causal convolutions."""

import torch

from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.nano import AutoencoderSizes


def test_planar_convolutions_give_the_stock_result_and_gradients() -> None:
    torch.manual_seed(0)
    stock = AutoencoderSizes(base_dim=8, z_dim=4).build()
    planar = AutoencoderSizes(base_dim=8, z_dim=4).build()
    planar.load_state_dict(stock.state_dict())
    use_planar_convolutions(planar)
    video = torch.rand(2, 3, 9, 16, 24) * 2 - 1
    outputs, gradients = [], []
    for model in (stock, planar):
        decoded = model.decode(model.encode(video).latent_dist.mode()).sample
        decoded.square().mean().backward()
        outputs.append(decoded.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-3)
