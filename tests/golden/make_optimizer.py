"""Makes optimizer.json: optimizers' steps, learning rates and averages as PyTorch computes them; LARS and LAMB,
which PyTorch has not, in double by the formulas of their papers.

    python3 make_optimizer.py        (pip install torch==2.13.0)

Parameters and gradients are fp32; the gradient of step s, element i is stored, so that the C test
needs no generator. Rates are those before each step of a run, of the schedulers after a linear warm-up
(cosine, polynomial) or chained with it (the others).
"""
import json
import pathlib

import torch
from torch.optim import swa_utils

COUNT = 8


def values(tensor):
    return [float(f"{x:.9g}") for x in tensor.tolist()]  # of float32: no bit is lost


class PaperRule:
    """Parameters in double behind those that the case sees."""

    def __init__(self, parameters, **settings):
        self.seen, = parameters
        self.settings = settings
        self.parameter = self.seen.detach().double()
        self.first = torch.zeros_like(self.parameter)
        self.second = torch.zeros_like(self.parameter)
        self.steps = 0

    def step(self):
        self.steps += 1
        self.parameter -= self.move(self.seen.grad.double(), self.parameter, **self.settings)
        self.seen.data = self.parameter.float()


class LARS(PaperRule):
    def move(self, gradient, parameter, lr, momentum, weight_decay, trust):
        local = trust * parameter.norm() / (gradient.norm() + weight_decay * parameter.norm())
        self.first = momentum * self.first + lr * local * (gradient + weight_decay * parameter)
        return self.first


class LAMB(PaperRule):
    def move(self, gradient, parameter, lr, beta1, beta2, eps, weight_decay):
        self.first = beta1 * self.first + (1 - beta1) * gradient
        self.second = beta2 * self.second + (1 - beta2) * gradient**2
        average = self.first / (1 - beta1**self.steps)
        square = self.second / (1 - beta2**self.steps)
        direction = average / (square.sqrt() + eps) + weight_decay * parameter
        return lr * parameter.norm() / direction.norm() * direction


def optimizer_case(name, steps, **settings):
    """The settings by their names in dn_optimizer_settings; what PyTorch calls otherwise: below."""
    generator = torch.Generator().manual_seed(1)
    parameter = torch.nn.Parameter(torch.randn(COUNT, generator=generator))
    arguments = {"lr": settings["rate"], "weight_decay": settings["weight_decay"]}
    if name == "SGD":
        arguments.update(momentum=settings["momentum"], nesterov=settings["nesterov"])
    elif name == "RMSprop":
        arguments.update(alpha=settings["beta2"], eps=settings["eps"], momentum=settings["momentum"])
    elif name.startswith("Adam"):
        arguments.update(betas=(settings["beta1"], settings["beta2"]), eps=settings["eps"])
    else:
        arguments = {key: value for key, value in settings.items() if key != "rate"}
        arguments["lr"] = settings["rate"]
    optimizer = (globals().get(name) or getattr(torch.optim, name))([parameter], **arguments)
    case = {"optimizer": name.lower(), "settings": settings, "start": values(parameter),
            "gradients": [], "parameters": []}
    for _ in range(steps):
        parameter.grad = torch.randn(COUNT, generator=generator)
        case["gradients"].append(values(parameter.grad))
        optimizer.step()
        case["parameters"].append(values(parameter))
    return case


def sgd_case(momentum, nesterov, weight_decay, rate):
    return optimizer_case("SGD", 5, momentum=momentum, nesterov=nesterov,
                          weight_decay=weight_decay, rate=rate)


def adam_cases(name):
    return [optimizer_case(name, 50, rate=0.001, weight_decay=0.0, beta1=0.9, beta2=0.999, eps=1e-8),
            optimizer_case(name, 50, rate=0.01, weight_decay=0.1, beta1=0.8, beta2=0.95, eps=1e-3)]


def rate_case(name, epochs, steps_per_epoch, warmup_epochs, base, **settings):
    """The settings by their names in dn_rate and dn_schedule_settings."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    total, warmup = epochs * steps_per_epoch, warmup_epochs * steps_per_epoch
    rest = total - warmup
    library, schedulers = torch.optim.lr_scheduler, []
    plateau = None
    if name == "step" and "step_epochs" in settings:
        schedulers.append(library.StepLR(optimizer, settings["step_epochs"] * steps_per_epoch,
                                         settings["gamma"]))
    elif name == "step":
        milestones = [-(-total // 2), -(-total * 3 // 4)]  # rounded up
        schedulers.append(library.MultiStepLR(optimizer, milestones))
    if name == "multi-step":
        milestones = [steps_per_epoch * epoch for epoch in settings["milestone"]]
        schedulers.append(library.MultiStepLR(optimizer, milestones, settings["gamma"]))
    if name == "cosine":
        schedulers.append(library.CosineAnnealingLR(optimizer, rest, settings.get("least", 0)))
    if name == "polynomial":
        schedulers.append(library.PolynomialLR(optimizer, rest, settings["power"]))
    if name == "one-cycle":
        schedulers.append(library.OneCycleLR(optimizer, base, total))
    if name == "plateau":
        plateau = library.ReduceLROnPlateau(
            optimizer, "max" if settings["metric"] else "min", settings["gamma"],
            settings["patience"], settings["threshold"], cooldown=settings["cooldown"],
            min_lr=settings["least"])
        generator = torch.Generator().manual_seed(2)
        settings["metrics"] = [float(f"{x:.4g}") for x in torch.rand(epochs, generator=generator)]
    if warmup:
        schedulers.append(library.LinearLR(optimizer, 1 / warmup, 1, warmup - 1))
    if warmup and name in ("cosine", "polynomial"):
        schedulers = [library.SequentialLR(optimizer, schedulers[::-1], [warmup])]
    rates = []
    for step in range(1, total + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        if plateau and step % steps_per_epoch == 0:
            plateau.step(settings["metrics"][step // steps_per_epoch - 1])
    return {"schedule": name, "epochs": epochs, "steps_per_epoch": steps_per_epoch,
            "warmup_epochs": warmup_epochs, "base": base, **settings, "rates": rates}


def average_case(case, decay):
    """What torch.optim.swa_utils, with TensorFlow's decay, makes of an optimizer case's parameters."""
    def average_one(average, parameter, steps):  # steps: 1 after the first
        return average.lerp(parameter, 1 - min(decay, int(steps) / (9 + int(steps))))

    model = torch.nn.Linear(COUNT, 1, bias=False)
    average = swa_utils.AveragedModel(model, avg_fn=average_one)
    averages = []
    for parameters in [case["start"], *case["parameters"]]:  # it begins with a copy
        model.weight.data = torch.tensor([parameters])
        average.update_parameters(model)
        averages.append(values(average.module.weight.data[0]))
    return {"decay": decay, "start": case["start"], "parameters": case["parameters"],
            "averages": averages[1:]}


golden = {
    "torch": torch.__version__,
    "optimizers": [sgd_case(0.0, False, 0.0, 0.1), sgd_case(0.9, False, 1e-4, 0.1),
                   sgd_case(0.9, True, 1e-4, 0.1), sgd_case(0.5, True, 0.05, 0.01),
                   *adam_cases("Adam"), *adam_cases("AdamW"),
                   optimizer_case("RMSprop", 50, rate=0.01, weight_decay=0.0, beta2=0.99, eps=1e-8,
                                  momentum=0.0),
                   optimizer_case("RMSprop", 50, rate=0.001, weight_decay=0.1, beta2=0.9, eps=1e-3,
                                  momentum=0.9),
                   optimizer_case("LARS", 50, rate=1.0, weight_decay=0.01, momentum=0.9, trust=0.01),
                   optimizer_case("LAMB", 50, rate=0.01, weight_decay=0.1, beta1=0.9, beta2=0.999,
                                  eps=1e-6)],
    "rates": [rate_case(name, epochs, 4, warmup, 0.3) for name in ("step", "cosine", "constant")
              for epochs, warmup in ((8, 0), (8, 2), (5, 1))] + [
        rate_case("step", 9, 4, 1, 0.3, step_epochs=2, gamma=0.5),
        rate_case("multi-step", 9, 4, 0, 0.3, milestone=[2, 5, 8], gamma=0.2),
        rate_case("cosine", 8, 4, 0, 0.3, least=0.01),
        rate_case("polynomial", 8, 4, 2, 0.3, power=2.0),
        rate_case("polynomial", 8, 4, 0, 0.3, power=0.9),
        rate_case("one-cycle", 10, 7, 0, 0.3),
        rate_case("one-cycle", 3, 1, 0, 0.3),
        rate_case("plateau", 40, 2, 0, 0.3, metric=0, gamma=0.5, patience=2, cooldown=0,
                  threshold=1e-4, least=0.02),
        rate_case("plateau", 40, 2, 0, 0.3, metric=1, gamma=0.1, patience=1, cooldown=3,
                  threshold=0.01, least=0.0),
        rate_case("plateau", 40, 2, 0, 0.3, metric=0, gamma=0.01, patience=0, cooldown=0,
                  threshold=0.5, least=0.0)],
}
golden["average"] = average_case(golden["optimizers"][5], 0.8)
path = pathlib.Path(__file__).with_name("optimizer.json")
path.write_text(json.dumps(golden) + "\n")
