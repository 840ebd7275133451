/* Scales windows of 8-bit pixels as PIL's bilinear resizing does, to the bit; scaling.py says what the arguments are.

   PIL's arithmetic: two passes, along the rows and along the columns, each with weights in fixed point and rounded to
   8 bits. Only what the result shows is computed. The pass along the rows works on a few of them at a time, turned so
   that one pixel of all of them lies together: one vector operation then serves them all. */

#pragma STDC FP_CONTRACT OFF /* the weights are rounded as PIL's are */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { BITS = 22, HALF = 1 << (BITS - 1), ROWS = 16 };

struct axis {                            /* of one pass: where it looks, and with which weights */
    ptrdiff_t from, to, shown, out, taps; /* pixels of the window; of its image scaled, `shown` up to shown + out */
    ptrdiff_t *first, *count;             /* [out] */
    int32_t *weights;                     /* [out][taps] */
};

static double filter_scale(const struct axis *a)
{
    double scale = (double)a->from / a->to;
    return scale < 1 ? 1 : scale;
}

/* Weights of the triangle around one pixel of the result, which add up to 1. */
static void weigh_one(struct axis *a, ptrdiff_t i, double *w)
{
    double support = filter_scale(a), inverse = 1.0 / support, sum = 0;
    double centre = (a->shown + i + 0.5) * ((double)a->from / a->to);
    ptrdiff_t low = (ptrdiff_t)(centre - support + 0.5), high = (ptrdiff_t)(centre + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > a->from ? a->from : high;
    for (ptrdiff_t x = low; x < high; x++) {
        double distance = fabs((x - centre + 0.5) * inverse);
        sum += w[x - low] = distance < 1 ? 1 - distance : 0;
    }
    for (ptrdiff_t x = 0; x < high - low; x++)
        a->weights[i * a->taps + x] = (int32_t)(0.5 + w[x] / sum * (1 << BITS));
    a->first[i] = low;
    a->count[i] = high - low;
}

static int weigh(struct axis *a)
{
    a->taps = (ptrdiff_t)ceil(filter_scale(a)) * 2 + 1;
    a->first = malloc(sizeof(ptrdiff_t) * 2 * a->out);
    a->weights = malloc(sizeof(int32_t) * a->out * a->taps);
    double *w = malloc(sizeof(double) * a->taps);
    int made = a->first && a->weights && w;
    if (made) {
        a->count = a->first + a->out;
        for (ptrdiff_t i = 0; i < a->out; i++)
            weigh_one(a, i, w);
    }
    free(w);
    return made;
}

static ptrdiff_t begin(const struct axis *a) { return a->first[0]; }
static ptrdiff_t end(const struct axis *a) { return a->first[a->out - 1] + a->count[a->out - 1]; }

/* `n` weighted sums of 8-bit values, each the next `step` bytes further, rounded. The weights are positive and add up
   to 1, so that a sum stays below 256. Compilers turn the loops over i into vector operations. */
INLINE void weighted(uint8_t *restrict to, int32_t *restrict sums, const uint8_t *restrict from, ptrdiff_t step,
                     const int32_t *weights, ptrdiff_t count, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        sums[i] = HALF + from[i] * weights[0];
    for (ptrdiff_t t = 1; t < count; t++)
        for (ptrdiff_t i = 0; i < n; i++)
            sums[i] += from[t * step + i] * weights[t];
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = (uint8_t)(sums[i] >> BITS);
}

/* [x][ROWS][pixel] of some rows; what is missing at the end is the last row again. */
INLINE void turn(uint8_t *turned, const uint8_t *pixels, ptrdiff_t row_bytes, int pixel, ptrdiff_t rows,
                 ptrdiff_t width)
{
    const uint8_t *row[ROWS];
    for (ptrdiff_t r = 0; r < ROWS; r++)
        row[r] = pixels + (r < rows ? r : rows - 1) * row_bytes;
    for (ptrdiff_t x = 0; x < width; x++)
        for (ptrdiff_t r = 0; r < ROWS; r++)
            memcpy(turned + (x * ROWS + r) * pixel, row[r] + x * pixel, pixel);
}

/* `rows` rows, at most ROWS: to out pixels of `channels` each, `stride` bytes from row to row, mirrored or not. */
INLINE void along_rows(uint8_t *to, ptrdiff_t stride, const uint8_t *turned, const struct axis *a, int pixel,
                       int channels, ptrdiff_t rows, int flip)
{
    uint8_t column[ROWS * 4];
    int32_t sums[ROWS * 4];
    for (ptrdiff_t i = 0; i < a->out; i++) {
        const uint8_t *from = turned + (a->first[i] - begin(a)) * ROWS * pixel;
        const int32_t *weights = a->weights + i * a->taps;
        weighted(column, sums, from, ROWS * pixel, weights, a->count[i], ROWS * pixel);
        uint8_t *at = to + (flip ? a->out - 1 - i : i) * channels;
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(at + r * stride, column + r * pixel, channels);
    }
}

/* All rows of an image, a few at a time. Compiled for each lay-out of pixels: one byte (grey), three, and PIL's own of
   three and one unused. */
static void pass_along_rows(uint8_t *to, ptrdiff_t stride, uint8_t *turned, const uint8_t *pixels, ptrdiff_t row_bytes,
                            ptrdiff_t height, const struct axis *a, int pixel, int flip)
{
#define CASE(P, C)                                                                                                     \
    if (pixel == P) {                                                                                                  \
        turn(turned, pixels + r * row_bytes, row_bytes, P, rows, end(a) - begin(a));                                   \
        along_rows(to + r * stride, stride, turned, a, P, C, rows, flip);                                              \
    }
    for (ptrdiff_t r = 0; r < height; r += ROWS) {
        ptrdiff_t rows = height - r < ROWS ? height - r : ROWS;
        CASE(1, 1)
        CASE(3, 3)
        CASE(4, 3)
    }
#undef CASE
}

static void pass_along_columns(uint8_t *to, int32_t *sums, const uint8_t *rows, ptrdiff_t row_bytes,
                               const struct axis *a, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < a->out; i++)
        weighted(to + i * n, sums, rows + (a->first[i] - begin(a)) * row_bytes, row_bytes, a->weights + i * a->taps,
                 a->count[i], n);
}

static void normalise(float *restrict to, const uint8_t *restrict line, const float *restrict mean,
                      const float *restrict std, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = (line[i] - mean[i]) / std[i];
}

struct target {
    ptrdiff_t size;         /* height and width */
    const float *mean, *std; /* [size][channels]; NULL: the result is 8-bit */
    void *images;           /* [n][size][size][channels] of float or uint8_t */
    int may_start_down;     /* whether PIL is one that begins along the columns where that is less work */
};

/* PIL's rule, which decides on the rounding. */
static int starts_down(const struct axis *y, const struct axis *x)
{
    return y->from > y->to && y->from - y->to > 2 * (x->from - x->to);
}

/* To `to`, [out][out][channels]; `pixels` is where the needed part of the window begins. */
static int scale(uint8_t *to, const struct axis *y, const struct axis *x, const uint8_t *pixels, ptrdiff_t row_bytes,
                 int pixel, int flip, int down)
{
    ptrdiff_t height = end(y) - begin(y), width = (end(x) - begin(x)) * pixel, n = x->out * (pixel == 1 ? 1 : 3);
    uint8_t *between = malloc(down ? y->out * width : height * n), *turned = malloc(width * ROWS);
    int32_t *sums = malloc(sizeof(int32_t) * (down ? width : n));
    int made = between && turned && sums;
    if (made && down) {
        pass_along_columns(between, sums, pixels, row_bytes, y, width);
        pass_along_rows(to, n, turned, between, width, y->out, x, pixel, flip);
    } else if (made) {
        pass_along_rows(between, n, turned, pixels, row_bytes, height, x, pixel, flip);
        pass_along_columns(to, sums, between, n, y, n);
    }
    free(between);
    free(turned);
    free(sums);
    return made;
}

static int one(const struct target *t, ptrdiff_t number, const uint8_t *pixels, ptrdiff_t row_bytes, int pixel,
               const int64_t *geometry, const int64_t *offset, int flip)
{
    struct axis y = {geometry[2], geometry[4], offset[0], t->size}, x = {geometry[3], geometry[5], offset[1], t->size};
    ptrdiff_t row = t->size * (pixel == 1 ? 1 : 3), at = number * t->size * row;
    uint8_t *levels = t->mean ? malloc(t->size * row) : (uint8_t *)t->images + at;
    int made = weigh(&y) & weigh(&x) && levels;
    if (made) {
        const uint8_t *corner = pixels + (geometry[0] + begin(&y)) * row_bytes + (geometry[1] + begin(&x)) * pixel;
        made = scale(levels, &y, &x, corner, row_bytes, pixel, flip, t->may_start_down && starts_down(&y, &x));
    }
    for (ptrdiff_t i = 0; made && t->mean && i < t->size; i++)
        normalise((float *)t->images + at + i * row, levels + i * row, t->mean, t->std, row);
    void *held[] = {t->mean ? levels : NULL, y.first, y.weights, x.first, x.weights};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        free(held[i]);
    return made;
}

/* Returns 0 if there was not enough memory. */
int cut(const struct target *target, ptrdiff_t first, ptrdiff_t n, const uint8_t *pixels, ptrdiff_t image_bytes,
        ptrdiff_t row_bytes, int pixel, const int64_t *geometry, const int64_t *offsets, const uint8_t *flips)
{
    for (ptrdiff_t i = first; i < first + n; i++)
        if (!one(target, i, pixels + (i - first) * image_bytes, row_bytes, pixel, geometry + 6 * i, offsets + 2 * i,
                 flips[i]))
            return 0;
    return 1;
}
