def model(x, w, calls):
    calls += 1
    h = (x @ w).tanh()
    return h * 2, h.view(-1)
