/* The Arrow stream: batches of rows, read file by file. */

/* https://arrow.apache.org/docs/format/CDataInterface.html */
struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

static int width_of(char kind) { return kind == 'b' ? 1 : 64; }

static void free_building(Stream *stream) {
    if (stream->building == NULL) return;
    for (int at = 0; at < stream->question->columns; at++) {
        Building *each = &stream->building[at];
        free(each->valid);
        free(each->data);
        free(each->offsets);
        free(each->inner_offsets);
    }
    free(stream->building);
    stream->building = NULL;
}

static int begin_batch(Stream *stream) {
    int columns = stream->question->columns;
    stream->rows = stream->line_bytes = 0;
    if ((stream->building = calloc((size_t)columns, sizeof(Building))) == NULL) return 0;
    for (int at = 0; at < columns; at++) {
        Building *each = &stream->building[at];
        char kind = stream->question->column[at].kind;
        if ((each->valid = calloc(BATCH_ROWS / 8, 1)) == NULL) return 0;
        if (is_text(kind) || kind == 'L') {
            if ((each->offsets = malloc((BATCH_ROWS + 1) * sizeof(int32_t))) == NULL) return 0;
            each->offsets[0] = 0;
        } else if ((each->data = calloc((size_t)BATCH_ROWS * (size_t)width_of(kind) / 8, 1)) == NULL) return 0;
        if (kind == 'L') {
            if ((each->inner_offsets = malloc(64 * sizeof(int32_t))) == NULL) return 0;
            each->inner_offsets[0] = 0;
            each->texts_room = 64;
        }
    }
    return 1;
}

static void close_file(Stream *stream) {
    if (stream->fd >= 0) close(stream->fd);
    stream->fd = -1;
    stream->at_file++;
}

/* Open the next file. If its name refers to another file by now, read that one, as DuckDB does. */
static int open_next(Stream *stream) {
    const File *file = &stream->question->files->file[stream->at_file];
    struct stat status;
    stream->offset = stream->held = stream->line_at = 0;
    do stream->fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    while (stream->fd < 0 && errno == EINTR);
    if (stream->fd < 0 || fstat(stream->fd, &status) < 0 || !S_ISREG(status.st_mode)) return 0;
    int is_listed = (uint64_t)status.st_ino == file->inode && status.st_size > file->size;
    stream->size = is_listed ? file->size : status.st_size;
    return 1;
}

/* Discard the index, because it covers only a part of the lines. */
static void forget_index(Stream *stream) {
    Files *files = stream->question->files;
    for (int at = 0; at < files->files; at++) files->file[at].lines = 0;
    for (int at = 0; at < files->writers; at++) free(files->writer[at].bits);
    files->writers = files->is_double = stream->makes_index = 0;
    files->first_us = INT64_MAX;
    files->last_us = INT64_MIN;
    atomic_store(&files->is_claimed, 0);
}

static void leave_file(Stream *stream, int mark) {
    if (mark != FINE) {
        atomic_store(&stream->question->marks[stream->at_file], (unsigned char)mark);
        if (stream->makes_index) forget_index(stream);
    }
    if (stream->makes_index) {
        File *file = &stream->question->files->file[stream->at_file];
        if (file->lines) take_room(file, file->lines); /* if shrinking fails, the larger one remains */
    }
    close_file(stream);
    stream->at_line = 0;
    if (stream->makes_index && stream->at_file == stream->question->files->files) atomic_store(&stream->question->files->is_indexed, 1);
}

/* Read the next bytes into the buffer, up to offset `most`; returns FINE, or the mark of a file to leave. */
static int read_on(Stream *stream, int64_t most) {
    stream->held -= stream->line_at;
    memmove(stream->buffer, stream->buffer + stream->line_at, (size_t)stream->held);
    stream->line_at = 0;
    if (stream->held == stream->buffer_bytes &&
        (stream->buffer_bytes > stream->question->files->max_line || !grown(&stream->buffer, &stream->buffer_bytes, 2 * stream->held)))
        return ODD;
    int64_t wanted = stream->buffer_bytes - stream->held;
    if (wanted > most - stream->offset) wanted = most - stream->offset;
    ssize_t got;
    do got = pread(stream->fd, stream->buffer + stream->held, (size_t)wanted, stream->offset);
    while (got < 0 && errno == EINTR);
    if (got < 0) return GONE;
    if (got == 0) stream->size = stream->offset; /* the file became shorter */
    stream->held += got;
    stream->offset += got;
    return FINE;
}

/* Go to the next requested line of an indexed file; 0 if there is none. */
static int go_to_asked(Stream *stream, const uint8_t *asked) {
    const Question *question = stream->question;
    const File *file = &question->files->file[stream->at_file];
    int64_t passed = 0;
    while (stream->at_line < file->lines) {
        const Ends *ends = file->ends + stream->at_line / BLOCK_LINES;
        if (stream->at_line % BLOCK_LINES == 0)
            stream->may_have_place = question->place == NULL || has_place_between(question, ends->low, ends->high);
        if (ends->last_us < question->since_us || ends->first_us > question->until_us || (!stream->may_have_place && !question->spans)) {
            do passed += file->length[stream->at_line++];
            while (stream->at_line < file->lines && stream->at_line % BLOCK_LINES);
            continue;
        }
        uint16_t what = file->what[stream->at_line];
        const uint16_t *spans = &file->spans[2 * stream->at_line];
        stream->is_linked = question->spans && (has_span(question, spans[0]) || has_span(question, spans[1]));
        if (!stream->may_have_place && !stream->is_linked) {
            passed += file->length[stream->at_line++];
            continue;
        }
        if (asked[what & 0xFF] || (what & question->levels)) break;
        passed += file->length[stream->at_line++];
    }
    if (stream->at_line == file->lines) return 0;
    if (stream->line_at + passed <= stream->held) stream->line_at += passed;
    else {
        stream->offset += passed - (stream->held - stream->line_at);
        stream->held = stream->line_at = 0;
    }
    return 1;
}

/* Fill the batch; 0 if memory runs out. */
static int fill_batch(Stream *stream) {
    Question *question = stream->question;
    Files *files = question->files;
    int is_bounded = question->since_us != INT64_MIN || question->until_us != INT64_MAX;
    int is_indexed = (question->is_filtered || is_bounded || question->place != NULL) && atomic_load(&files->is_indexed);
    uint8_t asked[MOST_KINDS + 6];
    memset(asked, !question->is_filtered, sizeof asked);
    for (int at = 0; is_indexed && at < files->kinds; at++)
        for (int kind = 0; kind < question->kinds; kind++)
            asked[at] |= question->kind_len[kind] == files->kind_len[at] &&
                         memcmp(question->kind[kind], files->kind[at], (size_t)files->kind_len[at]) == 0;
    if (stream->buffer == NULL && !grown(&stream->buffer, &stream->buffer_bytes, is_indexed ? WINDOW_BYTES : BUFFER_BYTES)) return 0;
    while (stream->at_file < files->files && stream->rows < BATCH_ROWS && stream->line_bytes < BATCH_BYTES) {
        const File *file = &files->file[stream->at_file];
        if (atomic_load(&question->marks[stream->at_file]) != FINE) { /* found by another stream */
            leave_file(stream, atomic_load(&question->marks[stream->at_file]));
            continue;
        }
        if (stream->fd < 0 && !open_next(stream)) {
            leave_file(stream, GONE);
            continue;
        }
        stream->is_linked = question->spans > 0; /* without an index, any line may be */
        if (is_indexed && !go_to_asked(stream, asked)) {
            leave_file(stream, FINE);
            continue;
        }
        const char *line = stream->buffer + stream->line_at;
        const char *end = memchr(line, '\n', (size_t)(stream->held - stream->line_at));
        if (end == NULL) {
            int mark = stream->offset < stream->size ? read_on(stream, stream->size)
                       : stream->line_at == stream->held ? FINE
                                                         : ODD; /* a last line without a newline */
            if (mark != FINE || (stream->offset >= stream->size && stream->line_at == stream->held)) leave_file(stream, mark);
            continue;
        }
        int taken = read_line(stream, line, end, file->path);
        if (taken == FAILED) return 0;
        if (taken == NOT_READ) { /* the whole result is discarded then */
            leave_file(stream, ODD);
            continue;
        }
        stream->line_at = end + 1 - stream->buffer;
        stream->at_line++;
        stream->line_bytes += taken == READ ? end + 1 - line : 0;
    }
    return 1;
}

static void release_array(struct ArrowArray *array) {
    for (int64_t at = 0; at < array->n_children; at++) {
        if (array->children[at]->release != NULL) array->children[at]->release(array->children[at]);
        free(array->children[at]);
    }
    for (int64_t at = 0; at < array->n_buffers; at++) free((void *)array->buffers[at]);
    free(array->children);
    free(array->buffers);
    array->release = NULL;
}

static int make_array(struct ArrowArray *array, int64_t length, int64_t buffers, int64_t children) {
    memset(array, 0, sizeof *array);
    array->length = length;
    array->n_buffers = buffers;
    array->buffers = calloc((size_t)buffers, sizeof(void *));
    array->children = calloc((size_t)(children ? children : 1), sizeof(void *));
    array->release = release_array;
    if (array->buffers == NULL || array->children == NULL) array->n_buffers = 0;
    while (array->n_buffers == buffers && array->n_children < children) {
        struct ArrowArray *child = calloc(1, sizeof *child);
        if (child == NULL) break;
        array->children[array->n_children++] = child;
    }
    if (array->n_buffers == buffers && array->n_children == children) return 1;
    release_array(array);
    return 0;
}

/* Move the buffers of a column into an Arrow array. */
static int hand_over(struct ArrowArray *array, Building *from, char kind, int64_t rows) {
    int has_offsets = is_text(kind);
    if (!make_array(array, rows, kind == 'L' ? 2 : has_offsets ? 3 : 2, kind == 'L')) return 0;
    array->null_count = from->nulls;
    array->buffers[0] = from->valid;
    from->valid = NULL;
    if (kind == 'L') {
        array->buffers[1] = from->offsets;
        from->offsets = NULL;
        if (!make_array(array->children[0], from->texts, 3, 0)) return 0;
        array->children[0]->buffers[1] = from->inner_offsets;
        array->children[0]->buffers[2] = from->data;
        from->inner_offsets = NULL;
    } else if (has_offsets) {
        array->buffers[1] = from->offsets;
        array->buffers[2] = from->data;
        from->offsets = NULL;
    } else array->buffers[1] = from->data;
    from->data = NULL;
    return 1;
}

static int get_next(struct ArrowArrayStream *self, struct ArrowArray *array) {
    Stream *stream = self->private_data;
    int columns = stream->question->columns;
    memset(array, 0, sizeof *array);
    if (stream->at_file >= stream->question->files->files) return 0; /* a released array marks the end */
    Question *question = stream->question;
    if (stream->at_file == 0 && stream->fd < 0 && !question->is_filtered && question->place == NULL && question->since_us == INT64_MIN &&
        question->until_us == INT64_MAX && !atomic_load(&question->files->is_indexed) && atomic_exchange(&question->files->is_claimed, 1) == 0)
        stream->makes_index = 1;
    int is_filled = begin_batch(stream) && fill_batch(stream);
    if (is_filled && stream->rows == 0) {
        free_building(stream);
        return 0;
    }
    if (is_filled && make_array(array, stream->rows, 1, columns)) {
        int at = 0;
        while (at < columns && hand_over(array->children[at], &stream->building[at], stream->question->column[at].kind, stream->rows)) at++;
        free_building(stream);
        if (at == columns) return 0;
        release_array(array);
    }
    free_building(stream);
    stream->error = "no memory for the lines";
    return ENOMEM;
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t at = 0; at < schema->n_children; at++) {
        if (schema->children[at] == NULL) continue;
        if (schema->children[at]->release != NULL) schema->children[at]->release(schema->children[at]);
        free(schema->children[at]);
    }
    free(schema->children);
    free(schema->private_data);
    schema->release = NULL;
}

/* The metadata that marks a text as JSON; the numbers have 4 bytes in the machine's byte order. */
static const char *of_json(void) {
    static struct {
        int32_t pairs, key_len;
        char key[20];
        int32_t value_len;
        char value[12];
    } JSON = {1, 20, "ARROW:extension:name", 10, "arrow.json"};
    return (const char *)&JSON;
}

static int make_schema(struct ArrowSchema *schema, const char *format, const char *name, int64_t children) {
    memset(schema, 0, sizeof *schema);
    schema->format = format;
    schema->flags = 2; /* may be null */
    schema->private_data = malloc(strlen(name) + 1);
    schema->children = calloc((size_t)(children ? children : 1), sizeof(void *));
    schema->release = release_schema;
    if (schema->private_data != NULL && schema->children != NULL) {
        schema->name = strcpy(schema->private_data, name);
        while (schema->n_children < children) {
            if ((schema->children[schema->n_children] = calloc(1, sizeof *schema)) == NULL) break;
            schema->n_children++;
        }
        if (schema->n_children == children) return 1;
    }
    release_schema(schema);
    return 0;
}

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *schema) {
    Stream *stream = self->private_data;
    if (!make_schema(schema, "+s", "", stream->question->columns)) return ENOMEM;
    for (int at = 0; at < stream->question->columns; at++) {
        const Column *column = &stream->question->column[at];
        struct ArrowSchema *child = schema->children[at];
        char kind = column->kind;
        const char *format = is_text(kind) ? "u" : kind == 'L' ? "+l" : kind == 'b' ? "b" : kind == 'd' ? "g" : "l";
        if (!make_schema(child, format, column->name, kind == 'L') ||
            (kind == 'L' && !make_schema(child->children[0], "u", "item", 0))) {
            release_schema(schema);
            return ENOMEM;
        }
        if (kind == 'j') child->metadata = of_json();
    }
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *self) { return ((Stream *)self->private_data)->error; }

static void release_stream(struct ArrowArrayStream *self) {
    Stream *stream = self->private_data;
    if (stream->fd >= 0) close(stream->fd);
    if (stream->makes_index && !atomic_load(&stream->question->files->is_indexed)) forget_index(stream);
    free_building(stream);
    free(stream->buffer);
    free(stream->text);
    drop_question(stream->question);
    free(stream);
    self->release = NULL;
}

static void free_capsule(PyObject *capsule) {
    struct ArrowArrayStream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (stream == NULL) return;
    if (stream->release != NULL) stream->release(stream); /* no consumer took it */
    free(stream);
}
