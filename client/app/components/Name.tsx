/** A name, a label, a user or another text of a producer, with a writing direction of its own. */
export const Name = ({ children, title }: { children: string; title?: string | undefined }) => (
  <bdi dir="auto" title={title}>
    {children}
  </bdi>
);
