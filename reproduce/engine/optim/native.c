/* LARS over all tensors of a network, in place, on a CPU; native.py says what the arguments are.

   Tensor by tensor: first the two norms, then the update, while both of them are still in the cache. Memory is the
   limit: an element costs 20 bytes of it so, where norms of everything before the update of everything cost 28. */

#include <math.h>
#include <stddef.h>

enum { BLOCK = 4096 }; /* elements summed in single precision, before they are added up in double */

struct rule {
    double eta, eps, ratio_decay, gain, ceiling; /* trust ratio: min(gain * eta |w| / (|g| + ...), ceiling) */
    double inner, outer;                         /* v <- m v + inner [s] d;  w <- w - outer [s] v */
    double weight_decay, momentum, scale;        /* scale: of the gradients as they are */
    int adapts, ratio_outside, needs_gradient, decays_unadapted, nesterov;
};

static double norm(const float *x, ptrdiff_t n, int threads)
{
    double total = 0;
#pragma omp parallel for reduction(+ : total) schedule(static) num_threads(threads) if (threads > 1 && n > BLOCK)
    for (ptrdiff_t begin = 0; begin < n; begin += BLOCK) {
        ptrdiff_t end = begin + BLOCK < n ? begin + BLOCK : n;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (ptrdiff_t i = begin; i < end; i++)
            sum += x[i] * x[i];
        total += sum;
    }
    return sqrt(total);
}

static void update(float *restrict w, float *restrict v, const float *restrict g, ptrdiff_t n, float momentum,
                   float inner, float outer, float scale, float decay, int threads)
{
#pragma omp parallel for simd schedule(static) num_threads(threads) if (parallel : threads > 1 && n > BLOCK)
    for (ptrdiff_t i = 0; i < n; i++) {
        v[i] = momentum * v[i] + inner * (scale * g[i] + decay * w[i]);
        w[i] -= outer * v[i];
    }
}

static void nesterov(float *restrict w, float *restrict v, const float *restrict g, ptrdiff_t n, float momentum,
                     float inner, float outer, float scale, float decay, int threads)
{
#pragma omp parallel for simd schedule(static) num_threads(threads) if (parallel : threads > 1 && n > BLOCK)
    for (ptrdiff_t i = 0; i < n; i++) {
        float d = inner * (scale * g[i] + decay * w[i]);
        v[i] = momentum * v[i] + d;
        w[i] -= outer * (momentum * v[i] + d);
    }
}

void lars_step(const struct rule *r, ptrdiff_t tensors, ptrdiff_t adapted, const ptrdiff_t *lengths, float *const *w,
               float *const *v, const float *const *g, int threads)
{
    for (ptrdiff_t t = 0; t < tensors; t++) {
        double s = 1, decay = t < adapted ? r->weight_decay : 0;
        if (r->adapts && t < adapted) {
            double w_norm = norm(w[t], lengths[t], threads), g_norm = r->scale * norm(g[t], lengths[t], threads);
            double below = g_norm + r->ratio_decay * w_norm + r->eps;
            if (w_norm > 0 && below > 0 && (g_norm > 0 || !r->needs_gradient))
                s = fmin(r->gain * r->eta * w_norm / below, r->ceiling);
            else if (!r->decays_unadapted)
                decay = 0;
        }
        double inner = r->inner * (r->ratio_outside ? 1 : s), outer = r->outer * (r->ratio_outside ? s : 1);
        (r->nesterov ? nesterov : update)(w[t], v[t], g[t], lengths[t], (float)r->momentum, (float)inner, (float)outer,
                                          (float)r->scale, (float)decay, threads);
    }
}
