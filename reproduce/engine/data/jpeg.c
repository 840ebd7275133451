/* Decodes a window of a JPEG file; jpeg.py says what the arguments are.

   What lies left, right and below of it is not reconstructed, and what is below not even read. The window gets a margin
   of one block of the chroma on either side, for a pixel next to the edge is interpolated across it. */

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 2001000
#error libjpeg-turbo 2.1 or later is needed: others cannot decode a part, or not exactly
#endif

struct errors {
    struct jpeg_error_mgr base; /* first: libjpeg knows only this */
    jmp_buf escape;
};

static void escape(j_common_ptr c) { longjmp(((struct errors *)c->err)->escape, 1); }

static void escape_from_warning(j_common_ptr c, int level)
{
    if (level < 0)
        escape(c);
}

/* The kinds whose pixels are known to be PIL's: grey, and YCbCr with chroma as fine, half as wide, or half as large. Of a
   progressive file all is read anyway, and what is unfinished is smoothed, across the edges of a window too. */
static int is_known(const struct jpeg_decompress_struct *c, int pixel)
{
    if (c->progressive_mode)
        return 0;
    const jpeg_component_info *p = c->comp_info;
    if (pixel == 1)
        return c->num_components == 1;
    if (c->num_components != 3 || c->jpeg_color_space != JCS_YCbCr)
        return 0;
    for (int i = 1; i < 3; i++)
        if (p[i].h_samp_factor != 1 || p[i].v_samp_factor != 1)
            return 0;
    return p->h_samp_factor <= 2 && p->v_samp_factor <= p->h_samp_factor;
}

static int decode(struct jpeg_decompress_struct *c, const int64_t *window, int pixel, uint8_t *to, ptrdiff_t row_bytes,
                  int64_t *margin)
{
    int64_t top = window[0], left = window[1], height = window[2], width = window[3];
    jpeg_read_header(c, TRUE);
    if (!is_known(c, pixel))
        return 0;
    c->out_color_space = pixel == 1 ? JCS_GRAYSCALE : JCS_EXT_RGBX;
    jpeg_start_decompress(c);
    if (top + height > c->output_height || left + width > c->output_width)
        return 0;
    int64_t block = c->max_h_samp_factor * DCTSIZE, end = left + width + block;
    JDIMENSION from = left < block ? 0 : (left / block - 1) * block;
    JDIMENSION columns = (end < c->output_width ? end : c->output_width) - from;
    if (from > 0 || columns < c->output_width)
        jpeg_crop_scanline(c, &from, &columns);
    *margin = left - from;
    if (*margin < 0 || columns < *margin + width || (ptrdiff_t)columns * pixel > row_bytes)
        return 0;
    if (top > 0 && jpeg_skip_scanlines(c, top) != top)
        return 0;
    while (c->output_scanline < top + height) {
        JSAMPROW row = to + (c->output_scanline - top) * row_bytes;
        if (jpeg_read_scanlines(c, &row, 1) != 1)
            return 0;
    }
    return 1;
}

/* Returns 0 for a file that is damaged, or of a kind that is not decoded here. */
int decode_window(const uint8_t *file, size_t bytes, const int64_t *window, int pixel, uint8_t *to, ptrdiff_t row_bytes,
                  int64_t *margin)
{
    struct jpeg_decompress_struct c;
    struct errors errors;
    volatile int done = 0;
    c.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = escape;
    errors.base.emit_message = escape_from_warning;
    if (!setjmp(errors.escape)) {
        jpeg_create_decompress(&c);
        jpeg_mem_src(&c, file, bytes);
        done = decode(&c, window, pixel, to, row_bytes, margin);
    }
    jpeg_destroy_decompress(&c);
    return done;
}
