/* A client for boards: an event and a question over MQTT 3.1.1, in C with BSD sockets, which ESP-IDF (lwIP) and Linux have.
 *
 *   gcc -std=c11 -o edgeward examples/esp/edgeward.c && ./edgeward 127.0.0.1 1883 shop-1 ann teapot
 *
 * On a board with ESP-IDF's own client, keep the topics and payloads below and give them to esp_mqtt_client_publish(client,
 * topic, payload, 0, 1, 0). MQTT 3.1.1 has no Response Topic: the request names reply_to and correlation in its payload.
 * Bounded: no heap, one message at a time, texts that do not fit are refused and not cut.
 */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PACKET_MAX 1024
#define WAIT_S 5

static int line = -1;
static uint8_t packet[PACKET_MAX];
static size_t length;

static int put(const void *data, size_t size) {
    if (length + size > PACKET_MAX) return -1;
    memcpy(packet + length, data, size);
    length += size;
    return 0;
}

static int put_text(const char *text) {
    size_t size = strlen(text);
    uint8_t head[2] = {(uint8_t)(size >> 8), (uint8_t)size};
    return put(head, 2) || put(text, size);
}

/* Sends what was put, after its fixed header; 0: done. */
static int send_packet(uint8_t kind) {
    uint8_t head[3] = {kind, (uint8_t)length, 0};
    size_t size = 2;
    if (length > 127) {
        head[1] = (uint8_t)(length & 127) | 128;
        head[2] = (uint8_t)(length >> 7);
        size = 3;
    }
    int failed = send(line, head, size, 0) != (ssize_t)size || send(line, packet, length, 0) != (ssize_t)length;
    length = 0;
    return failed;
}

static int read_all(uint8_t *into, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t more = recv(line, into + got, size - got, 0);
        if (more <= 0) return -1;
        got += (size_t)more;
    }
    return 0;
}

/* Reads one packet into `packet`; returns its kind (the upper four bits), -1 when there is none or it is too long. */
static int read_packet(void) {
    uint8_t byte, kind;
    size_t size = 0;
    if (read_all(&kind, 1)) return -1;
    for (int shift = 0; shift <= 21; shift += 7) {
        if (read_all(&byte, 1)) return -1;
        size |= (size_t)(byte & 127) << shift;
        if (byte < 128) {
            if (size > PACKET_MAX || read_all(packet, size)) return -1;
            length = size;
            return kind >> 4;
        }
    }
    return -1;
}

/* Waits for a packet of this kind; others are passed over. */
static int await_packet(int kind) {
    int found;
    do found = read_packet();
    while (found >= 0 && found != kind);
    return found == kind ? 0 : -1;
}

/* Whether snprintf wrote all of it. */
static int fits(int needed, size_t size) { return needed > 0 && (size_t)needed < size; }

/* Whether a text may stand in a topic and in JSON as it is. */
static int plain(const char *text) {
    if (!*text) return 0;
    for (; *text; text++)
        if ((unsigned char)*text < 32 || strchr("+#/\"\\", *text)) return 0;
    return 1;
}

static int fail(const char *why) {
    fprintf(stderr, "error: %s\n", why);
    return 1;
}

static int dial(const char *host, const char *port, const char *client) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    struct timeval wait = {.tv_sec = WAIT_S};
    if (getaddrinfo(host, port, &hints, &found)) return -1;
    line = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    int failed = line < 0 || connect(line, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (failed) return -1;
    setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    const uint8_t header[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60}; /* 3.1.1, clean session, keep alive 60 s */
    if (put(header, sizeof header) || put_text(client) || send_packet(0x10)) return -1;
    return await_packet(2) || length != 2 || packet[1] ? -1 : 0;
}

/* Publishes at QoS 1 and waits until the broker has it; the same id may be sent again when it does not answer. */
static int publish(const char *topic, const char *payload, int retain) {
    const uint8_t number[2] = {0, 1};
    length = 0;
    if (put_text(topic) || put(number, 2) || put(payload, strlen(payload))) return -1;
    return send_packet((uint8_t)(0x32 | (retain ? 1 : 0))) || await_packet(4);
}

static int subscribe(const char *topic) {
    const uint8_t number[2] = {0, 2}, qos = 0;
    length = 0;
    if (put(number, 2) || put_text(topic) || put(&qos, 1) || send_packet(0x82)) return -1;
    return await_packet(9) || packet[length - 1] > 1 ? -1 : 0;
}

int main(int count, char **words) {
    const char *host = count > 1 ? words[1] : "127.0.0.1", *port = count > 2 ? words[2] : "1883";
    const char *device = count > 3 ? words[3] : "shop-1", *subject = count > 4 ? words[4] : "ann";
    const char *item = count > 5 ? words[5] : "teapot";
    char topic[128], reply[128], payload[512];
    struct timeval now;
    gettimeofday(&now, NULL);
    long long ms = (long long)now.tv_sec * 1000 + now.tv_usec / 1000;

    if (!plain(device) || !plain(subject) || !plain(item)) return fail("a name has a character that it may not have");
    if (!fits(snprintf(reply, sizeof reply, "edgeward/1/%s/reply/board", device), sizeof reply)) return fail("too long");
    if (dial(host, port, "board") || subscribe(reply)) return fail("no broker there");

    if (!fits(snprintf(topic, sizeof topic, "edgeward/1/%s/consent/%s", device, subject), sizeof topic) ||
        !fits(snprintf(payload, sizeof payload, "{\"purposes\":{\"recommend\":true},\"time_ms\":%lld}", ms), sizeof payload))
        return fail("too long");
    if (publish(topic, payload, 1)) return fail("the word was not taken");

    static const char event[] =
        "{\"id\":\"board-%lld\",\"time\":%lld,\"subject\":\"%s\",\"kind\":\"click\",\"item\":\"%s\"}";
    if (!fits(snprintf(topic, sizeof topic, "edgeward/1/%s/capture/page", device), sizeof topic) ||
        !fits(snprintf(payload, sizeof payload, event, ms, ms, subject, item), sizeof payload))
        return fail("too long");
    if (publish(topic, payload, 0)) return fail("the event was not taken");

    static const char question[] =
        "{\"subject\":\"%s\",\"items\":[\"green-tea\",\"grinder\"],\"reply_to\":\"%s\",\"correlation\":\"%lld\"}";
    if (!fits(snprintf(topic, sizeof topic, "edgeward/1/%s/request/shelf", device), sizeof topic) ||
        !fits(snprintf(payload, sizeof payload, question, subject, reply, ms), sizeof payload))
        return fail("too long");
    if (publish(topic, payload, 0) || await_packet(3)) return fail("no decision in time");
    size_t start = length < 2 ? length + 1 : 2 + ((size_t)packet[0] << 8 | packet[1]);
    if (start > length) return fail("that was no message");
    printf("%.*s\n", (int)(length - start), (const char *)packet + start);
    const uint8_t goodbye[2] = {0xE0, 0};
    send(line, goodbye, 2, 0);
    close(line);
    return 0;
}
